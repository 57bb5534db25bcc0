"""Runs reads that SQLAlchemy has compiled on the driver's connection directly."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVarTuple
from weakref import WeakSet

from sqlalchemy import Connection, Row, Select
from sqlalchemy.exc import DBAPIError, MissingGreenlet
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import PoolProxiedConnection
from sqlalchemy.util import LRUCache, greenlet_spawn

from service_platform.acceleration.compiled_select import CompiledSelect, compiled_select
from service_platform.database.driver_errors import conceal_values, ends_connection
from service_platform.database.reader import Reader
from service_platform.errors.database import DatabaseUnavailableError

Ts = TypeVarTuple("Ts")

COMPILED_CACHE_SIZE: Final = 500
"""How many compiled statements are kept; as many as SQLAlchemy's own cache has."""


class AcceleratedReader(Reader):
    """A `Reader` that costs less than half where a statement is built once and run again.

    SQLAlchemy executes a statement twice. From the second result are taken the compiled SQL and the
    metadata of rows, and from then on the driver runs it. What cannot have the same result that way
    goes on to be executed by SQLAlchemy, and so is every statement while SQLAlchemy logs them or
    somebody listens to the engine's execution events.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        super().__init__(engine)
        self._executed: WeakSet[Select[*tuple[Any, ...]]] = WeakSet()
        self._compiled: LRUCache[Select[*tuple[Any, ...]], CompiledSelect | None] = LRUCache(
            COMPILED_CACHE_SIZE
        )

    async def _fetch(
        self, statement: Select[*Ts], parameters: Mapping[str, Any] | None
    ) -> list[Row[*Ts]]:
        compiled = self._compiled.get(statement)
        if compiled is None or self._is_observed():
            return await super()._fetch(statement, parameters)
        try:
            values = compiled.bind(parameters)
        except Exception:  # noqa: BLE001 - SQLAlchemy raises it again, with the statement
            return await super()._fetch(statement, parameters)
        rows: list[Any] = compiled.rows(await self._run(compiled.sql, values))
        return rows

    def _is_observed(self) -> bool:
        events: Any = self._engine.dispatch
        return bool(
            self._engine.echo
            or events.before_cursor_execute
            or events.after_cursor_execute
            or events.before_execute
            or events.after_execute
        )

    def _execute_on(
        self,
        connection: Connection,
        statement: Select[*Ts],
        parameters: Mapping[str, Any] | None,
    ) -> list[Row[*Ts]]:
        result = connection.execute(statement, parameters)
        if statement not in self._executed:
            self._executed.add(statement)
        elif statement not in self._compiled:
            self._compiled[statement] = compiled_select(statement, result)
        return list(result)

    async def _run(self, sql: str, values: Sequence[Any]) -> list[Any]:
        """Run SQL on a connection of the pool, a second time if the connection was lost."""
        for last in (False, True):
            connection = await self._checkout()
            driver: Any = connection.driver_connection
            try:
                records: list[Any] = await driver.fetch(sql, *values)
            except Exception as error:
                lost = ends_connection(error) or driver.is_closed()
                if lost:  # as the engine does: the other idle ones are most likely lost, too
                    self._engine.pool._invalidate(connection, error)  # noqa: SLF001
                else:
                    await self._checkin(connection)
                if lost and not last and not isinstance(error, TimeoutError):
                    continue
                raise self._translated(error, sql, lost=lost) from error
            except BaseException:  # cancelled; closing waits until the server has cancelled it, too
                await greenlet_spawn(connection.invalidate)
                raise
            await self._checkin(connection)
            return records
        raise AssertionError("unreachable")

    async def _checkout(self) -> PoolProxiedConnection:
        """Check a connection out, without a greenlet where an idle one can be taken at once."""
        pool: Any = self._engine.pool
        if pool.checkedin():
            try:
                idle: PoolProxiedConnection = pool.connect()
            except MissingGreenlet:  # it was closed or too old: another has to be opened
                pass
            else:
                return idle
        opened: PoolProxiedConnection = await greenlet_spawn(pool.connect)
        return opened

    async def _checkin(self, connection: PoolProxiedConnection) -> None:
        pool: Any = self._engine.pool
        if pool.overflow() > 0:  # may have to be closed, which the server is told
            await greenlet_spawn(connection.close)
        else:
            connection.close()

    def _translated(self, error: Exception, sql: str, *, lost: bool) -> BaseException:
        """Return the exception that SQLAlchemy and the engine's error handler would raise."""
        if isinstance(error, TimeoutError):
            return DatabaseUnavailableError("no_answer")
        if isinstance(error, OSError):
            return DatabaseUnavailableError("connection_lost")
        conceal_values(error)
        dialect: Any = self._engine.dialect
        dbapi = dialect.loaded_dbapi
        for kind in type(error).__mro__:
            adapted = dbapi._asyncpg_error_translate.get(kind)  # noqa: SLF001
            if adapted is not None:
                cause = adapted(error.args[0], error)
                cause.__cause__ = error
                translated: BaseException = DBAPIError.instance(
                    sql, None, cause, dbapi.Error, hide_parameters=True, connection_invalidated=lost
                )
                return translated
        return error


__all__ = ["AcceleratedReader"]
