"""The connection pool: asyncpg below SQLAlchemy, sized and timed by the settings."""

import asyncio
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Generator
from typing import Any, Final

import asyncpg
from prometheus_client import Gauge
from sqlalchemy import Engine, event
from sqlalchemy.engine.interfaces import ExceptionContext
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry, NullPool

from service_platform.connection_urls import PostgresUrl
from service_platform.database.driver_errors import conceal_values, ends_connection
from service_platform.database.pool import FairQueuePool
from service_platform.errors.database import DatabaseUnavailableError, TooManyConnectionsError
from service_platform.settings import PlatformSettings

RECYCLE_SECONDS: Final = 1800
"""A connection is replaced at this age, so that a moved database or a full backend is left."""
RECONNECT_SECONDS: Final = 1.0
"""How long a restarting server is waited for, while it refuses connections."""
ANSWER_MARGIN_SECONDS: Final = 2.0
"""The server cancels a statement first; the client gives the connection up this much later."""
RESTARTING: Final = (
    ConnectionError,
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.CrashShutdownError,
)
"""How a server looks to new connections while it goes down and comes back."""

pool_in_use = Gauge(
    "database_pool_connections_in_use",
    "Connections that requests hold at this moment.",
    ("pool",),
    multiprocess_mode="livesum",
)
pool_limit = Gauge(
    "database_pool_connections_limit",
    "Most connections the pool may have.",
    ("pool",),
    multiprocess_mode="livesum",
)


class Connector:
    """Makes connections to the database of the settings.

    The address may have libpq's parameters (`sslmode`, several hosts, `connect_timeout`, see
    `connection_urls`).

    Args:
        settings: address and time limits.
        statement_timeout_seconds: instead of the setting; 0 for none (migrations).
    """

    def __init__(
        self, settings: PlatformSettings, *, statement_timeout_seconds: float | None = None
    ) -> None:
        limit = settings.database_statement_timeout_seconds
        if statement_timeout_seconds is not None:
            limit = statement_timeout_seconds
        url = PostgresUrl.parse(settings.database_url.get_secret_value())
        self._socket_options = url.socket_options()
        self._command_timeout = limit + ANSWER_MARGIN_SECONDS if limit else None
        self.is_pooled = settings.database_pooler == "transaction"
        server_settings = {"application_name": settings.project_name, "timezone": "UTC"}
        if not self.is_pooled:  # a pooler gives each transaction another session
            server_settings |= {
                "statement_timeout": str(round(limit * 1000)),
                "idle_in_transaction_session_timeout": str(
                    round(settings.request_timeout_seconds * 1000)
                ),
                "jit": "off",  # compiling costs more than the short statements of a service gain
            }
        self._arguments = url.connect_arguments(
            settings.database_connect_timeout_seconds, server_settings
        )
        if self.is_pooled:
            self._arguments["statement_cache_size"] = 0
        self._failed_at = float("-inf")
        self._connecting: set[asyncio.Future[asyncpg.Connection]] = set()
        self._unfinished: dict[asyncpg.Connection, asyncio.Task[Any] | None] = {}

    async def connect(self) -> asyncpg.Connection:
        """Open a connection, waiting a moment for a server that is just restarting.

        Raises:
            DatabaseUnavailableError: with the kind of failure.
        """
        deadline = time.monotonic() + RECONNECT_SECONDS
        patient = time.monotonic() - self._failed_at > RECONNECT_SECONDS
        while True:
            try:
                return await self._connect_once()
            except RESTARTING as error:
                # While the server stays away, requests fail at once instead of queueing up.
                if not patient or time.monotonic() > deadline:
                    self._failed_at = time.monotonic()
                    raise DatabaseUnavailableError("connection_refused") from error
            except asyncpg.TooManyConnectionsError as error:
                raise TooManyConnectionsError from error
            except asyncpg.TargetServerAttributeNotMatched as error:
                raise DatabaseUnavailableError("read_only") from error
            except TimeoutError as error:
                raise DatabaseUnavailableError("connect_timeout") from error
            except ssl.SSLError as error:
                raise DatabaseUnavailableError("tls_failed") from error
            except OSError as error:
                raise DatabaseUnavailableError("unreachable") from error
            except (asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
                raise DatabaseUnavailableError("connection_rejected") from error
            await asyncio.sleep(0.02)

    async def _connect_once(self) -> asyncpg.Connection:
        connection = await asyncpg.connect(command_timeout=self._command_timeout, **self._arguments)
        opened: socket.socket = connection._transport.get_extra_info("socket")  # noqa: SLF001
        for option in self._socket_options:
            if option[0] == socket.SOL_SOCKET or opened.family != socket.AF_UNIX:
                opened.setsockopt(*option)
        return connection

    async def connect_for_pool(self) -> asyncpg.Connection:
        """The same, for SQLAlchemy, which goes on to set the connection up.

        When the request is cancelled meanwhile, neither the driver nor SQLAlchemy closes what is
        half open. So connecting is brought to its end, and a connection is remembered until
        `finished` tells that it is the pool's.
        """
        self.close_unfinished(of_ended_tasks=True)
        connecting = asyncio.ensure_future(self.connect())
        self._connecting.add(connecting)
        connecting.add_done_callback(self._connecting.discard)
        try:
            connection = await asyncio.shield(connecting)
        except asyncio.CancelledError:
            connecting.add_done_callback(_close_unwanted)
            raise
        self._unfinished[connection] = asyncio.current_task()
        return connection

    def finished(self, connection: Any, _record: object) -> None:
        """A connection is set up and the pool's."""
        self._unfinished.pop(connection.driver_connection, None)

    async def stop(self) -> None:
        """Close what is not the pool's."""
        await asyncio.gather(*self._connecting, return_exceptions=True)
        await asyncio.sleep(0)  # lets the futures' own callbacks run
        self.close_unfinished(of_ended_tasks=False)

    def close_unfinished(self, *, of_ended_tasks: bool) -> None:
        """Close connections whose setting up was broken off."""
        for connection, task in list(self._unfinished.items()):
            if not of_ended_tasks or task is None or task.done():
                del self._unfinished[connection]
                connection.terminate()

    def __call__(self) -> Awaitable[asyncpg.Connection]:
        """The same as an awaitable that does nothing until it is awaited.

        SQLAlchemy asks for one also where it then finds that it cannot wait; a coroutine left
        behind there would be reported as never awaited.
        """
        return _Deferred(self.connect_for_pool)


def _close_unwanted(connecting: "asyncio.Future[asyncpg.Connection]") -> None:
    if not connecting.cancelled() and connecting.exception() is None:
        connecting.result().terminate()


class _Deferred:
    __slots__ = ("_function",)

    def __init__(self, function: Callable[[], Awaitable[asyncpg.Connection]]) -> None:
        self._function = function

    def __await__(self) -> Generator[Any, None, asyncpg.Connection]:
        return self._function().__await__()


def make_engine(
    settings: PlatformSettings, connector: Connector, *, name: str = "database"
) -> AsyncEngine:
    """The engine of a service: a bounded pool whose connections are prepared and reused.

    Requests get connections in the order they asked. Idle ones are taken last in, first out, so
    that a burst's extra ones come to rest. No query is spent to see whether one still lives: the
    driver hears of a closed socket at once.

    Args:
        settings: size and times of the pool.
        connector: opens its connections.
        name: label of the pool in the metrics.
    """
    engine = _engine(
        connector,
        poolclass=FairQueuePool,
        pool_size=settings.database_pool_size,
        max_overflow=settings.database_max_overflow,
        pool_timeout=settings.database_pool_timeout_seconds,
        pool_recycle=RECYCLE_SECONDS,
        pool_use_lifo=True,
        echo=settings.debug,
    )
    pool_limit.labels(name).set(settings.database_pool_size + settings.database_max_overflow)
    event.listen(engine.sync_engine, "connect", connector.finished)
    event.listen(engine.sync_engine, "checkout", _refuse_closed)
    event.listen(engine.sync_engine, "checkin", _discard_open_transaction)
    event.listen(engine.sync_engine, "handle_error", _handle_error)
    _measure(engine.sync_engine, pool_in_use.labels(name))
    return engine


def make_migration_engine(settings: PlatformSettings) -> AsyncEngine:
    """An engine for one connection at a time, whose statements may take as long as they need."""
    connector = Connector(settings, statement_timeout_seconds=0)
    return _engine(connector, poolclass=NullPool)


def _engine(connector: Connector, **options: Any) -> AsyncEngine:
    """An engine on the connector, behind a pooler without named prepared statements.

    Those belong to a session. An unnamed one is parsed together with its execution.
    """
    adaption: dict[str, Any] = {"async_creator_fn": connector}
    if connector.is_pooled:
        adaption |= {"prepared_statement_cache_size": 0, "prepared_statement_name_func": str}

    def creator() -> Any:
        dialect: Any = engine.dialect
        return dialect.loaded_dbapi.connect(**adaption)

    engine = create_async_engine(
        "postgresql+asyncpg://", creator=creator, hide_parameters=True, **options
    )
    return engine


def _refuse_closed(connection: Any, _record: object, _proxy: object) -> None:
    if connection.driver_connection.is_closed():
        raise DisconnectionError


def _discard_open_transaction(_connection: object, record: ConnectionPoolEntry) -> None:
    """Close a connection at checkin that is still in a transaction.

    Whoever has it next could not begin one, and its locks would stay.
    """
    connection = record.driver_connection
    if connection is not None and connection.is_in_transaction():
        record.invalidate()


def _measure(engine: Engine, gauge: Gauge) -> None:
    """Keep the gauge of connections in use; read from the pool, so that it cannot drift."""

    def in_use() -> int:
        pool: Any = engine.pool
        count: int = pool.checkedout()
        return count

    def taken(_connection: object, _record: object, _proxy: object) -> None:
        gauge.set(in_use())

    def given_back(_connection: object, _record: object) -> None:
        gauge.set(in_use() - 1)  # it is not yet among the idle ones

    event.listen(engine, "checkout", taken)
    event.listen(engine, "checkin", given_back)


def _handle_error(context: ExceptionContext) -> None:
    """Discard a connection that an error leaves unusable; keep row values out of messages."""
    error = context.original_exception
    conceal_values(error.__cause__, error, context.sqlalchemy_exception)
    if ends_connection(error.__cause__) or ends_connection(error):
        context.is_disconnect = True
    elif _transaction_failed(context):
        context.is_disconnect = True
        context.invalidate_pool_on_disconnect = False
    if isinstance(error, TimeoutError):
        raise DatabaseUnavailableError("no_answer") from error
    if isinstance(error, OSError):
        raise DatabaseUnavailableError("connection_lost") from error


def _transaction_failed(context: ExceptionContext) -> bool:
    """Say whether a BEGIN, COMMIT or ROLLBACK failed and left the connection in the wrong state.

    After a failed BEGIN the driver believes in a transaction, and makes the next one a savepoint;
    after a failed COMMIT or ROLLBACK the server is still in it. SQLAlchemy executes BEGIN together
    with the first statement, the others without one.
    """
    connection = context.connection
    if connection is None or connection.closed or connection.invalidated:
        return False
    pooled = connection.connection
    driver, adapted = pooled.driver_connection, pooled.dbapi_connection
    if driver is None or adapted is None:
        return False
    if context.statement is None:
        return bool(driver.is_in_transaction())
    autocommit = context.dialect.detect_autocommit_setting(adapted)
    return not autocommit and not driver.is_in_transaction()


__all__ = [
    "Connector",
    "make_engine",
    "make_migration_engine",
]
