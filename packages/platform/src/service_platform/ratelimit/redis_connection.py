"""A pipelined connection to Redis: bytes out, replies to callbacks in order.

The limiter sends one kind of command, prepared as bytes, many times a turn of the event loop. This
does that for about a tenth of the time a general client takes for a command, which at low load is
the larger part of a decision. Everything else in a service uses redis-py.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self, cast

import hiredis
from pydantic import SecretStr
from redis.asyncio import ConnectionPool

Reply = object
"""Integers, bytes, lists of them; `hiredis.ReplyError` where Redis answered with an error; an
`OSError` where there is no answer."""

Done = Callable[[Reply], None]

_INCOMPLETE = object()


class ConnectionLostError(OSError):
    """The connection ended before the answer came."""


class OverdueError(OSError):
    """The answer did not come within the budget."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a Redis is, and how to introduce oneself."""

    host: str
    port: int
    path: str = ""
    database: int = 0
    username: str = ""
    password: SecretStr | None = None
    tls: ssl.SSLContext | None = None

    @classmethod
    def of_url(cls, url: SecretStr) -> Self:
        """Read an address as redis-py does, with all options of the query (TLS files and so on)."""
        connection = ConnectionPool.from_url(url.get_secret_value()).make_connection()  # type: ignore[no-untyped-call]
        context = getattr(connection, "ssl_context", None)
        return cls(
            host=getattr(connection, "host", ""),
            port=int(getattr(connection, "port", 0)),
            path=getattr(connection, "path", ""),
            database=int(connection.db or 0),
            username=connection.username or "",
            password=SecretStr(connection.password) if connection.password else None,
            tls=context.get() if context is not None else None,
        )

    def at(self, host: str, port: int) -> Self:
        """Another node of the same cluster."""
        return replace(self, host=host, port=port, path="")

    def __str__(self) -> str:
        return self.path or f"{self.host}:{self.port}"


class RedisConnection(asyncio.Protocol):
    """One open connection."""

    def __init__(self) -> None:
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._reader = hiredis.Reader(notEnoughData=_INCOMPLETE)
        self._waiting: deque[tuple[float, Done]] = deque()

    @classmethod
    async def open(cls, address: Address) -> Self:
        """Connect and nothing more.

        Raises:
            OSError: nobody listens there, or TLS fails.
        """
        loop = asyncio.get_running_loop()
        if address.path:
            _, connection = await loop.create_unix_connection(cls, address.path)
        else:
            _, connection = await loop.create_connection(
                cls, address.host, address.port, ssl=address.tls
            )
        return connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport (called by the event loop)."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Hand each complete reply to whoever waits longest (called by the event loop)."""
        reader = self._reader
        reader.feed(data)
        waiting = self._waiting
        try:
            while (reply := reader.gets()) is not _INCOMPLETE:
                waiting.popleft()[1](reply)
        except (hiredis.ProtocolError, IndexError):
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell everybody who waits (called by the event loop)."""
        del exc  # whatever ended it, the answers will not come
        self.give_up(ConnectionLostError("The connection to Redis was lost."))
        if not self.lost.done():
            self.lost.set_result(None)

    def send(self, command: bytes, done: Done) -> None:
        """Write a command; `done` gets the reply, also when there will be none."""
        transport = self._transport
        if transport is None or transport.is_closing():
            done(ConnectionLostError("The connection to Redis is closed."))
            return
        self._waiting.append((self._loop.time(), done))
        transport.write(command)

    async def ask(self, *arguments: str | bytes | int) -> Reply:
        """Send one command and wait.

        Raises:
            hiredis.ReplyError: Redis answered with an error.
            OSError: there is no answer.
        """
        answered: asyncio.Future[Reply] = self._loop.create_future()

        def done(reply: Reply) -> None:
            if not answered.done():
                answered.set_result(reply)

        self.send(packed(*arguments), done)
        reply = await answered
        if isinstance(reply, Exception):
            raise reply
        return reply

    @property
    def waits_since(self) -> float | None:
        """Event loop time at which the oldest unanswered command was sent."""
        return self._waiting[0][0] if self._waiting else None

    def give_up(self, error: OSError) -> None:
        """Answer everybody who waits with `error`. Replies that come later go nowhere."""
        waiting = [done for _, done in self._waiting]
        for at, (sent, _) in enumerate(self._waiting):
            self._waiting[at] = (sent, _forget)
        for done in waiting:
            done(error)

    def abort(self) -> None:
        """Close at once; `connection_lost` follows."""
        if self._transport is not None:
            self._transport.abort()


def packed(*arguments: str | bytes | int) -> bytes:
    """A command in the Redis protocol."""
    parts = [b"*%d\r\n" % len(arguments)]
    for argument in arguments:
        data = argument if isinstance(argument, bytes) else str(argument).encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(parts)


def _forget(_: Reply) -> None:
    """Nobody waits for this reply any more."""
