"""Reads: one statement, one round trip, rows of columns.

A `Reader` runs a `select()` of columns on the pool's connections without opening a transaction:
there is no BEGIN and no ROLLBACK around it. SQLAlchemy compiles the statement, once; from then on
the driver runs its text directly. That costs a fifth of an ORM query (`benchmarks/`).
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias, TypeVar, TypeVarTuple
from weakref import WeakKeyDictionary

from sqlalchemy import BindParameter, Float, Row, Select, TypeDecorator
from sqlalchemy.engine import Dialect
from sqlalchemy.engine.result import SimpleResultMetaData
from sqlalchemy.exc import DBAPIError, InvalidRequestError, MissingGreenlet
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import PoolProxiedConnection
from sqlalchemy.sql.cache_key import CacheKey
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import TypeEngine
from sqlalchemy.util import LRUCache, greenlet_spawn

from service_platform.database.engine import conceal_values, ends_connection
from service_platform.errors.database import DatabaseUnavailableError

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

KNOWN_SHAPES: Final = 500
"""How many shapes of statements built anew for each call are remembered."""
RECOVERY_SECONDS: Final = 2.0
"""How long a cancelled statement may take to end before its connection is closed."""
FLOAT8: Final = 701
NUMERIC: Final = 1700
"""Type numbers of PostgreSQL (`pg_type.oid`)."""
_NOTHING: Final[Mapping[str, Any]] = {}


class Reader:
    """Runs single read statements.

    A statement may be built for each call:

        await reader.all(select(Item.id, Item.name).where(Item.owner_id == owner).limit(20))

    or once, with named parameters, which saves building it (about half of the whole cost):

        ITEM = select(Item.id, Item.name).where(Item.id == bindparam("id"))
        await reader.one_or_none(ITEM, {"id": item_id})

    A read whose connection turns out to be lost is run once more on a new one.

    Raises:
        SQLAlchemyError: what `errors.database` turns into a problem.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._sync_engine = engine.sync_engine
        self._dialect = engine.dialect
        self._recovering: set[asyncio.Future[None]] = set()
        self._by_shape: LRUCache[Any, _Plan] = LRUCache(KNOWN_SHAPES)
        self._by_statement: WeakKeyDictionary[
            Select[Any], tuple[_Plan, Sequence[BindParameter[Any]]]
        ] = WeakKeyDictionary()

    async def one_or_none(
        self, statement: Select[*Ts], parameters: Mapping[str, Any] | None = None
    ) -> Row[*Ts] | None:
        """The row the statement names by a key, if it is there; of several, the first."""
        rows = await self._fetch(statement, parameters, one=True)
        return rows[0] if rows else None

    async def all(
        self, statement: Select[*Ts], parameters: Mapping[str, Any] | None = None
    ) -> list[Row[*Ts]]:
        """Every row; the statement sets the limit."""
        return await self._fetch(statement, parameters, one=False)

    async def scalar(
        self,
        statement: Select[T, *tuple[Any, ...]],
        parameters: Mapping[str, Any] | None = None,
    ) -> T | None:
        """The first column of the first row."""
        row = await self.one_or_none(statement, parameters)
        return None if row is None else row[0]

    async def scalars(
        self,
        statement: Select[T, *tuple[Any, ...]],
        parameters: Mapping[str, Any] | None = None,
    ) -> list[T]:
        """The first column of every row."""
        return [row[0] for row in await self.all(statement, parameters)]

    async def _fetch(
        self, statement: Any, parameters: Mapping[str, Any] | None, *, one: bool
    ) -> list[Any]:
        prepared = self._by_statement.get(statement) if parameters is not None else None
        if prepared is None:
            cache_key = statement._generate_cache_key()  # noqa: SLF001 - as the engine does
            if cache_key is None or cache_key.params is not None:
                return await self._fetch_by_engine(statement, parameters)
            plan = self._by_shape.get(cache_key.key)
            if plan is None:
                plan = self._by_shape[cache_key.key] = _Plan(statement, self._dialect, cache_key)
            prepared = plan, cache_key.bindparams
            if parameters is not None:
                self._by_statement[statement] = prepared
        plan, own = prepared
        if plan.expands:
            return await self._fetch_by_engine(statement, parameters)
        values = plan.values(own, parameters or _NOTHING)
        return plan.rows(await self._run(plan.sql, values, one=one))

    async def _fetch_by_engine(
        self, statement: Select[Any], parameters: Mapping[str, Any] | None
    ) -> list[Row[Any]]:
        """The way for statements whose text depends on their values, such as `IN` with a list."""
        async with self._engine.connect() as connection:
            autocommit = await connection.execution_options(isolation_level="AUTOCOMMIT")
            return list((await autocommit.execute(statement, parameters)).all())

    async def _run(self, sql: str, values: Sequence[Any], *, one: bool) -> list[Any]:
        """Runs a statement on a connection of the pool, once more if the connection was lost."""
        for last in (False, True):
            borrowed = await self._borrow()
            connection = borrowed.driver_connection
            try:
                if one:
                    record = await connection.fetchrow(sql, *values)
                    records = [] if record is None else [record]
                else:
                    records = await connection.fetch(sql, *values)
            except Exception as error:
                lost = ends_connection(error) or connection.is_closed()
                if lost:
                    # As the engine does: the other idle ones are most likely lost, too.
                    self._sync_engine.pool._invalidate(borrowed, error)  # noqa: SLF001
                await self._give_back(borrowed)
                if lost and not last and not isinstance(error, TimeoutError):
                    continue
                raise self._translated(error, sql, lost=lost) from error
            except BaseException:  # cancelled: nobody waits for the answer any more
                task = asyncio.ensure_future(self._recover(borrowed))
                self._recovering.add(task)
                task.add_done_callback(self._recovering.discard)
                raise
            await self._give_back(borrowed)
            return records
        raise AssertionError("unreachable")

    async def _recover(self, borrowed: PoolProxiedConnection) -> None:
        """Give a connection back once the server has cancelled its statement.

        The driver sends the cancellation by itself, and lets the next statement wait for it.
        """
        connection: Any = borrowed.driver_connection
        try:
            await connection.execute("SELECT 1", timeout=RECOVERY_SECONDS)
        except Exception:  # noqa: BLE001 - whatever it is, the connection is of no more use
            borrowed.invalidate()
        await self._give_back(borrowed)

    async def settle(self) -> None:
        """Wait until every connection of a cancelled read is back in the pool or closed."""
        await asyncio.gather(*self._recovering, return_exceptions=True)

    async def _borrow(self) -> Any:
        """A connection of the pool, without the detour over a greenlet where none is needed."""
        pool: Any = self._sync_engine.pool
        if pool.checkedin():
            try:
                return pool.connect()
            except MissingGreenlet:  # the idle connection was closed or too old: make a new one
                pass
        return await greenlet_spawn(pool.connect)

    async def _give_back(self, borrowed: PoolProxiedConnection) -> None:
        pool: Any = self._sync_engine.pool
        if pool.overflow() > 0:  # one too many is closed, for which the server is told
            await greenlet_spawn(borrowed.close)
        else:
            borrowed.close()

    def _translated(self, error: Exception, sql: str, *, lost: bool) -> BaseException:
        """The exception SQLAlchemy would have raised."""
        if isinstance(error, TimeoutError):
            return DatabaseUnavailableError("no_answer")
        if isinstance(error, OSError):
            return DatabaseUnavailableError("connection_lost")
        conceal_values(error)
        dbapi: Any = self._dialect.loaded_dbapi
        for kind in type(error).__mro__:
            adapted = dbapi._asyncpg_error_translate.get(kind)  # noqa: SLF001 - its own table
            if adapted is not None:
                cause = adapted(error.args[0], error)
                cause.__cause__ = error
                translated: BaseException = DBAPIError.instance(
                    sql, None, cause, dbapi.Error, hide_parameters=True, connection_invalidated=lost
                )
                return translated
        return error


class _Plan:
    """A compiled statement: its text for the driver and how values go in and rows come out.

    Args:
        statement: a `select()` of columns.
        dialect: of the engine.
        cache_key: of the statement; the plan serves every statement with the same.
    """

    __slots__ = ("_binders", "_metadata", "_sources", "expands", "sql")

    def __init__(self, statement: Select[Any], dialect: Dialect, cache_key: CacheKey) -> None:
        _require_columns(statement)
        compiled = statement._compiler(  # noqa: SLF001 - what `compile` calls, and the engine
            dialect, cache_key=cache_key, column_keys=[]
        )
        if not isinstance(compiled, SQLCompiler):
            raise InvalidRequestError("A Reader runs SELECT statements only.")
        self.sql = str(compiled)
        self.expands = bool(compiled.post_compile_params or compiled.literal_execute_params)
        self._sources = _sources(compiled, cache_key)
        by_name: dict[str, Any] = dict(compiled._bind_processors)  # noqa: SLF001
        binders = [by_name.get(name) for name in compiled.positiontup or ()]
        self._binders = binders if any(binders) else None
        entries = compiled._result_columns  # noqa: SLF001 - public to result objects
        processors = [_result_processor(entry.type, dialect) for entry in entries]
        self._metadata = SimpleResultMetaData(
            [entry.keyname for entry in entries],
            _processors=processors if any(processors) else None,
        )

    def values(
        self, own: Sequence[BindParameter[Any]], parameters: Mapping[str, Any]
    ) -> Sequence[Any]:
        """The values in the driver's order.

        Args:
            own: the statement's own parameters, in the order of its cache key.
            parameters: values of named ones.
        """
        values = []
        for position, name, constant in self._sources:
            if name is not None and name in parameters:
                values.append(parameters[name])
            elif position is None:
                values.append(constant)
            elif own[position].required:
                raise InvalidRequestError(f"A value is required for parameter {name!r}.")
            else:
                values.append(own[position].effective_value)
        if self._binders is None:
            return values
        return [
            value if binder is None else binder(value)
            for binder, value in zip(self._binders, values, strict=True)
        ]

    def rows(self, records: Sequence[Any]) -> list[Row[Any]]:
        """SQLAlchemy's rows for the driver's records."""
        metadata = self._metadata
        processors, index = metadata._processors, metadata._key_to_index  # noqa: SLF001
        return [Row(metadata, processors, index, tuple(record)) for record in records]


class _Slot:
    """Stands for the parameter at one position of a cache key while a statement is compiled."""

    __slots__ = ("callable", "position")

    def __init__(self, position: int) -> None:
        self.position = position

    @property
    def value(self) -> "_Slot":
        """Itself, where a real parameter has its value."""
        return self

    effective_value = value


_Source: TypeAlias = tuple[int | None, str | None, Any]


def _sources(compiled: SQLCompiler, cache_key: CacheKey) -> list[_Source]:
    """Where each value comes from: place in the cache key, name of a named one, or a constant."""
    slots: Any = [_Slot(position) for position in range(len(cache_key.bindparams))]
    found = compiled.construct_params(extracted_parameters=slots, _check=False)
    sources: list[_Source] = []
    for name in compiled.positiontup or ():
        parameter, value = compiled.binds[name], found[name]
        known_as = None if parameter.unique else parameter.key
        if isinstance(value, _Slot):
            sources.append((value.position, known_as, None))
        else:
            sources.append((None, known_as, value))
    return sources


def _result_processor(kind: TypeEngine[Any], dialect: Dialect) -> Any:
    """What a type does to the driver's values.

    Numbers are told apart by the type the server sent, which the driver's records do not carry; the
    column's own type says as much.
    """
    number = kind.impl_instance if isinstance(kind, TypeDecorator) else kind
    sent_as = FLOAT8 if isinstance(number, Float) else NUMERIC
    return kind._cached_result_processor(dialect, sent_as)  # noqa: SLF001 - as the engine does


def _require_columns(statement: Select[Any]) -> None:
    for column in statement.column_descriptions:
        if column.get("entity") is not None and column["expr"] is column["entity"]:
            raise InvalidRequestError(
                "A Reader returns columns: select the columns the response needs, or load the "
                "entity through a session."
            )


__all__ = ["Reader"]
