"""The connection pool: asyncpg below SQLAlchemy, sized and timed by the settings."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Generator
from typing import Any, Final

import asyncpg
from prometheus_client import Gauge
from sqlalchemy import Engine, event
from sqlalchemy.engine.interfaces import ExceptionContext
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from service_platform.database.pool import FairPool
from service_platform.errors.database import DatabaseUnavailableError
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
LAST_WORDS: Final = frozenset({"57P01", "57P02", "57P03"})
"""SQLSTATEs with which a server ends a connection."""

pool_in_use = Gauge(
    "database_pool_connections_in_use",
    "Connections that requests hold at this moment.",
    multiprocess_mode="livesum",
)
pool_limit = Gauge(
    "database_pool_connections_limit",
    "Most connections the pool may have.",
    multiprocess_mode="livesum",
)


class Connector:
    """Makes connections to the database of the settings.

    The address is handed to asyncpg as it is, which reads libpq's parameters (`sslmode`,
    `sslrootcert`, several hosts, `target_session_attrs`); anything else in its query is a server
    setting.

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
        scheme, _, rest = settings.database_url.get_secret_value().partition("://")
        self._dsn = f"{scheme.partition('+')[0]}://{rest}"
        self._timeout = settings.database_connect_timeout_seconds
        self._command_timeout = limit + ANSWER_MARGIN_SECONDS if limit else None
        self._server_settings = {
            "application_name": settings.project_name,
            "statement_timeout": str(round(limit * 1000)),
            "idle_in_transaction_session_timeout": str(
                round(settings.request_timeout_seconds * 1000)
            ),
            "jit": "off",  # compiling costs more than the short statements of a service gain
            "timezone": "UTC",
        }
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
                raise DatabaseUnavailableError("too_many_connections") from error
            except TimeoutError as error:
                raise DatabaseUnavailableError("connect_timeout") from error
            except OSError as error:
                raise DatabaseUnavailableError("unreachable") from error
            except (asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
                raise DatabaseUnavailableError("connection_rejected") from error
            await asyncio.sleep(0.02)

    async def _connect_once(self) -> asyncpg.Connection:
        return await asyncpg.connect(
            self._dsn,
            timeout=self._timeout,
            command_timeout=self._command_timeout,
            server_settings=self._server_settings,
        )

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


def make_engine(settings: PlatformSettings, connector: Connector) -> AsyncEngine:
    """The engine of a service: a bounded pool whose connections are prepared and reused.

    Requests get connections in the order they asked. Idle ones are taken last in, first out, so
    that a burst's extra ones come to rest. No query is spent to see whether one still lives: the
    driver hears of a closed socket at once.
    """
    engine = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=connector,
        poolclass=FairPool,
        pool_size=settings.database_pool_size,
        max_overflow=settings.database_max_overflow,
        pool_timeout=settings.database_pool_timeout_seconds,
        pool_recycle=RECYCLE_SECONDS,
        pool_use_lifo=True,
        echo=settings.debug,
        hide_parameters=True,
    )
    pool_limit.set(settings.database_pool_size + settings.database_max_overflow)
    event.listen(engine.sync_engine, "connect", connector.finished)
    event.listen(engine.sync_engine, "checkout", _refuse_closed)
    _measure(engine.sync_engine)
    event.listen(engine.sync_engine, "handle_error", _tell_lost_connections)
    return engine


def make_migration_engine(settings: PlatformSettings) -> AsyncEngine:
    """An engine for one connection at a time, whose statements may take as long as they need."""
    connector = Connector(settings, statement_timeout_seconds=0)
    return create_async_engine(
        "postgresql+asyncpg://",
        async_creator=connector,
        poolclass=NullPool,
        hide_parameters=True,
    )


def _refuse_closed(connection: Any, _record: object, _proxy: object) -> None:
    if connection.driver_connection.is_closed():
        raise DisconnectionError


def _measure(engine: Engine) -> None:
    """Keep the gauge of connections in use; read from the pool, so that it cannot drift."""

    def in_use() -> int:
        pool: Any = engine.pool
        count: int = pool.checkedout()
        return count

    def taken(_connection: object, _record: object, _proxy: object) -> None:
        pool_in_use.set(in_use())

    def given_back(_connection: object, _record: object) -> None:
        pool_in_use.set(in_use() - 1)  # it is not yet among the idle ones

    event.listen(engine, "checkout", taken)
    event.listen(engine, "checkin", given_back)


def _tell_lost_connections(context: ExceptionContext) -> None:
    """Name a server that stopped answering; keep row values out of error messages."""
    error = context.original_exception
    conceal_values(error.__cause__, error, context.sqlalchemy_exception)
    if error.__cause__ is not None and ends_connection(error.__cause__):
        context.is_disconnect = True
    if isinstance(error, TimeoutError):
        context.is_disconnect = True
        raise DatabaseUnavailableError("no_answer") from error


def ends_connection(error: BaseException) -> bool:
    """Say whether a connection is of no more use after this error of the driver.

    The driver knows a connection as open until the socket is closed. In the moment before, when the
    server has said its last words, it is in a state that it only calls an internal error.
    """
    return (
        isinstance(error, OSError | asyncpg.PostgresConnectionError | asyncpg.InternalClientError)
        or getattr(error, "sqlstate", None) in LAST_WORDS
    )


def conceal_values(cause: BaseException | None, *wrappers: BaseException | None) -> None:
    """Keep values out of what is logged of a database error.

    PostgreSQL quotes the row it refused as DETAIL, and an unacceptable value in the message.

    Args:
        cause: the driver's exception.
        wrappers: exceptions of SQLAlchemy that repeat its message.
    """
    if not isinstance(cause, asyncpg.PostgresError):
        return
    cause.detail = None
    if isinstance(cause, asyncpg.DataError):
        for error in (cause, *wrappers):
            if error is not None:
                error.args = ("a value is not acceptable (concealed)",)


__all__ = [
    "Connector",
    "conceal_values",
    "ends_connection",
    "make_engine",
    "make_migration_engine",
]
