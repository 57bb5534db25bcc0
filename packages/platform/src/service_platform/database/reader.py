"""Runs single SELECT statements without a transaction."""

from collections.abc import Mapping
from typing import Any, TypeVar, TypeVarTuple
from weakref import WeakSet

from sqlalchemy import Connection, Row, Select
from sqlalchemy.exc import InvalidRequestError, MultipleResultsFound, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.util import greenlet_spawn

from service_platform.errors.database import can_run_again

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Reader:
    """Runs single SELECT statements of columns, each in one round trip.

    Connections are in autocommit mode: there is no BEGIN and no ROLLBACK around a statement. It may
    be built for each call:

        await reader.all(select(Book.id, Book.name).where(Book.owner_id == owner).limit(20))

    or once, with named parameters, which saves building it:

        BOOK = select(Book.id, Book.name).where(Book.id == bindparam("id"))
        await reader.one_or_none(BOOK, {"id": book_id})

    A read whose connection turns out to be lost is run once more on another one.

    Args:
        engine: of the database.

    Raises:
        InvalidRequestError: the statement selects an entity; load that through a session.
        SQLAlchemyError: what `errors.database` turns into a problem.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT").sync_engine
        self._accepted: WeakSet[Select[*tuple[Any, ...]]] = WeakSet()

    async def one_or_none(
        self, statement: Select[*Ts], parameters: Mapping[str, Any] | None = None
    ) -> Row[*Ts] | None:
        """Return the only row, or `None` where there is none.

        Raises:
            MultipleResultsFound: there are several.
        """
        rows = await self.all(statement, parameters)
        if len(rows) > 1:
            raise MultipleResultsFound("Multiple rows were found when one or none was required")
        return rows[0] if rows else None

    async def all(
        self, statement: Select[*Ts], parameters: Mapping[str, Any] | None = None
    ) -> list[Row[*Ts]]:
        """Return every row; the statement sets the limit."""
        return await self._fetch(statement, parameters)

    async def scalar(
        self,
        statement: Select[T, *tuple[Any, ...]],
        parameters: Mapping[str, Any] | None = None,
    ) -> T | None:
        """Return the first column of the first row, or `None` where there is no row."""
        rows = await self._fetch(statement, parameters)
        return rows[0][0] if rows else None

    async def scalars(
        self,
        statement: Select[T, *tuple[Any, ...]],
        parameters: Mapping[str, Any] | None = None,
    ) -> list[T]:
        """Return the first column of every row."""
        return [row[0] for row in await self._fetch(statement, parameters)]

    async def _fetch(
        self, statement: Select[*Ts], parameters: Mapping[str, Any] | None
    ) -> list[Row[*Ts]]:
        return await greenlet_spawn(self._execute, statement, parameters)

    def _execute(
        self, statement: Select[*Ts], parameters: Mapping[str, Any] | None
    ) -> list[Row[*Ts]]:
        """Run a statement in a greenlet, a second time if its connection was lost."""
        self._require_columns(statement)
        for last in (False, True):
            try:
                with self._engine.connect() as connection:
                    return self._execute_on(connection, statement, parameters)
            except SQLAlchemyError as error:
                if last or not can_run_again(error):
                    raise
        raise AssertionError("unreachable")

    def _execute_on(
        self,
        connection: Connection,
        statement: Select[*Ts],
        parameters: Mapping[str, Any] | None,
    ) -> list[Row[*Ts]]:
        return list(connection.execute(statement, parameters))

    def _require_columns(self, statement: Select[*Ts]) -> None:
        if statement in self._accepted:
            return
        for column in statement.column_descriptions:
            if column.get("entity") is not None and column["expr"] is column["entity"]:
                raise InvalidRequestError(
                    "A Reader returns columns: select the columns the response needs, or load the "
                    "entity through a session."
                )
        self._accepted.add(statement)


__all__ = ["Reader"]
