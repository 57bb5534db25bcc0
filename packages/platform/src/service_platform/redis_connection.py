"""Makes redis-py connections that leave a server which is no longer the primary.

After a failover the old primary goes on as a replica: connections to it stay open, it refuses
writes and may never hear of anything new. So an error that means "wrong server" closes all
connections to it, and every connection asks for its server's role when it is made and, before a
command, every second. The next connection finds whatever the address stands for by then.
"""

import asyncio
from collections.abc import Callable
from itertools import chain
from typing import Any, Final

from redis.asyncio import BlockingConnectionPool, Connection, SSLConnection
from redis.asyncio import UnixDomainSocketConnection as SocketConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError

WRONG_SERVER_CODES: Final = frozenset(
    {"CLUSTERDOWN", "LOADING", "MASTERDOWN", "MOVED", "NOREPLICAS", "READONLY"}
)
"""Error codes of a server that is a replica, has lost its replicas, or has no data yet."""

WRONG_SERVER_WORDS: Final = ("READONLY You can't write", "UNBLOCKED force unblock")
"""The same without a code of its own: inside of a script before Redis 7, and to those who wait."""

ROLE_SECONDS: Final = 1.0
"""How long a connection's server is believed to be the primary."""

PRIMARY_ROLES: Final = frozenset({"master", "primary"})
UNSUPPORTED_MODES: Final = {
    "cluster": "a node of a Redis Cluster, which is not supported; give the address of a Redis or "
    "Valkey that is not part of one",
    "sentinel": "a Sentinel, which is not supported; give an address that follows the primary, "
    "such as that of a proxy or a DNS name",
}


class WrongServerError(RedisConnectionError):
    """The server is a replica; writes belong to another one."""


class UnsupportedRedisError(RedisConnectionError):
    """The server is of a kind that the services cannot work with; the message says what to do."""


def error_code(error: RedisError) -> str:
    """Return the code of a server's error (`READONLY`), empty where the server did not say one."""
    code = error.status_code or str(error).partition(" ")[0]
    return code if code.isascii() and code.isalpha() and code.isupper() else ""


def is_wrong_server(error: RedisError) -> bool:
    """Say whether an error means that another server is to be asked."""
    text = str(error)
    return error_code(error) in WRONG_SERVER_CODES or any(
        words in text for words in WRONG_SERVER_WORDS
    )


def unsupported(mode: str) -> str:
    """Return the sentence that refuses a server of an unsupported mode."""
    return f"REDIS_URL leads to {UNSUPPORTED_MODES[mode]}."


class _PrimaryConnection:
    """What is added to redis-py's connection classes."""

    on_wrong_server: Callable[[], None] | None = None
    _role_known_until = float("inf")

    async def on_connect_check_health(self: Any, check_health: bool = True) -> None:
        """Greet the server and require that it is the primary (called by redis-py)."""
        self._role_known_until = float("inf")
        await super().on_connect_check_health(check_health)  # type: ignore[misc]
        await self._require_primary()

    async def check_health(self: Any) -> None:
        """Ask for the role again when the last answer is old (called before a command)."""
        if asyncio.get_running_loop().time() < self._role_known_until:
            return
        try:
            await self._require_primary()
        except (WrongServerError, UnsupportedRedisError):
            self._leave()
            raise

    async def read_response(self: Any, *args: Any, **options: Any) -> Any:
        """Read a reply; an error that means "wrong server" closes the pool's connections."""
        try:
            return await super().read_response(*args, **options)  # type: ignore[misc]
        except RedisError as error:
            if is_wrong_server(error):
                self._leave()
            raise

    async def _require_primary(self: Any) -> None:
        """Ask the server what it is.

        Raises:
            WrongServerError: a replica.
            UnsupportedRedisError: a node of a cluster, or a Sentinel.
        """
        self._role_known_until = float("inf")
        await self.send_command("HELLO", check_health=False)
        try:
            facts = _facts(await self.read_response())
        except ResponseError:
            return  # a proxy, or a server before Redis 6, which cannot tell
        if facts.get("mode") in UNSUPPORTED_MODES:
            raise UnsupportedRedisError(unsupported(facts["mode"]))
        if facts.get("role", "master") not in PRIMARY_ROLES:
            raise WrongServerError("The server is a replica.")
        self._role_known_until = asyncio.get_running_loop().time() + ROLE_SECONDS

    def _leave(self: Any) -> None:
        self.mark_for_reconnect()
        if self.on_wrong_server is not None:
            self.on_wrong_server()


class PrimaryConnection(_PrimaryConnection, Connection):
    """A TCP connection to the primary."""


class PrimarySSLConnection(_PrimaryConnection, SSLConnection):
    """A TLS connection to the primary."""


class PrimarySocketConnection(_PrimaryConnection, SocketConnection):
    """A connection to the primary by a Unix socket."""


_CLASSES: Final = {
    Connection: PrimaryConnection,
    SSLConnection: PrimarySSLConnection,
    SocketConnection: PrimarySocketConnection,
}


class PrimaryConnectionPool(BlockingConnectionPool):
    """A bounded pool of connections to the primary, which all leave a server that is a replica."""

    def __init__(self, **options: Any) -> None:
        options["connection_class"] = _CLASSES[options.get("connection_class", Connection)]
        super().__init__(**options)

    def make_connection(self) -> Any:
        """Make a connection that tells the others when its server is the wrong one."""
        connection: Any = super().make_connection()  # type: ignore[no-untyped-call]
        connection.on_wrong_server = self._leave_server
        return connection

    async def ensure_connection(self, connection: Any) -> None:
        """Make a connection usable; one that is to leave its server is made anew."""
        if connection.should_reconnect():
            await connection.disconnect(nowait=True)
        await super().ensure_connection(connection)

    def _leave_server(self) -> None:
        connections: chain[Any] = chain(self._available_connections, self._in_use_connections)
        for connection in connections:
            connection.mark_for_reconnect()


def _facts(reply: Any) -> dict[str, str]:
    """Read a `HELLO` reply, which is a map, or in RESP2 a list of names and values."""
    pairs = reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2], strict=True)
    return {_text(name): _text(value) for name, value in pairs}


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


__all__ = [
    "PrimaryConnectionPool",
    "UnsupportedRedisError",
    "WrongServerError",
    "error_code",
    "is_wrong_server",
    "unsupported",
]
