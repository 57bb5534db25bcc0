"""Opens connections to PostgreSQL by asyncpg, as the settings and the address say."""

import asyncio
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Generator
from typing import Any, Final

import asyncpg

from service_platform.connection_urls import PostgresUrl
from service_platform.errors.database import DatabaseUnavailableError, TooManyConnectionsError
from service_platform.settings import PlatformSettings
from service_platform.telemetry.database_spans import TracedConnection, server_attributes

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


class Connector:
    """Makes connections to the database of the settings.

    The address may have libpq's parameters (`sslmode`, several hosts, `connect_timeout`, see
    `connection_urls`).

    Args:
        settings: address and time limits.
        statement_timeout_seconds: instead of the setting; 0 for none (migrations).

    Attributes:
        is_pooled: whether a pooler gives each transaction another session.
        span_attributes: of the server, for spans of statements; `None` where none are made.
    """

    def __init__(
        self, settings: PlatformSettings, *, statement_timeout_seconds: float | None = None
    ) -> None:
        limit = settings.database_statement_timeout_seconds
        if statement_timeout_seconds is not None:
            limit = statement_timeout_seconds
        url = PostgresUrl.parse(settings.database_url.get_secret_value())
        self._socket_options = url.socket_options()
        self.span_attributes = server_attributes(url) if settings.otel_enabled else None
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
        connection = await asyncpg.connect(
            command_timeout=self._command_timeout,
            connection_class=TracedConnection if self.span_attributes else asyncpg.Connection,
            **self._arguments,
        )
        opened: socket.socket = connection._transport.get_extra_info("socket")  # noqa: SLF001
        for option in self._socket_options:
            if option[0] == socket.SOL_SOCKET or opened.family != socket.AF_UNIX:
                opened.setsockopt(*option)
        if isinstance(connection, TracedConnection) and self.span_attributes is not None:
            connection.span_attributes = self.span_attributes
        return connection

    async def connect_for_pool(self) -> asyncpg.Connection:
        """Open a connection for SQLAlchemy, which goes on to set it up.

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
        """Hand a connection that is set up over to the pool."""
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
        """Return `connect_for_pool` as an awaitable that does nothing until it is awaited.

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


__all__ = ["Connector"]
