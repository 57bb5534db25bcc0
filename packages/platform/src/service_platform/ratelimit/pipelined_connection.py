"""Open a pipelined connection to Redis: commands go out as bytes, replies come in their order.

The limiter sends one kind of command, many times in each turn of the event loop. Here a command
takes about a tenth of the time that it takes in redis-py, which would be most of a decision at low
load. Everything else in a service uses redis-py.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Self, cast

import hiredis

from service_platform.ratelimit.redis_address import RedisAddress

Reply = object
"""Integers, bytes and lists of them; a `hiredis.ReplyError` where Redis replied with an error; an
`OSError` where there is no reply."""

OnReply = Callable[[Reply], None]

_INCOMPLETE = object()


class ConnectionLostError(OSError):
    """The connection was closed before the reply came."""


class OverdueError(OSError):
    """The reply did not come within the time-out."""


class PipelinedConnection(asyncio.Protocol):
    """Send commands to Redis without waiting for the replies to earlier ones.

    Attributes:
        closed: done once the connection is closed.
    """

    def __init__(self) -> None:
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._reader = hiredis.Reader(notEnoughData=_INCOMPLETE)
        self._pending: deque[tuple[float, OnReply]] = deque()

    @classmethod
    async def open(cls, address: RedisAddress) -> Self:
        """Connect to an address, without any command.

        Raises:
            OSError: nothing listens there, or TLS fails.
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
        """Pass each complete reply to the oldest pending command (called by the event loop)."""
        reader = self._reader
        reader.feed(data)
        pending = self._pending
        try:
            while (reply := reader.gets()) is not _INCOMPLETE:
                pending.popleft()[1](reply)
        except (hiredis.ProtocolError, IndexError):
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail all pending commands (called by the event loop)."""
        del exc  # whatever closed it, the replies will not come
        self.fail_pending(ConnectionLostError("The connection to Redis was lost."))
        if not self.closed.done():
            self.closed.set_result(None)

    def send(self, command: bytes, on_reply: OnReply) -> None:
        """Write an encoded command; `on_reply` is called once, also when there is no reply."""
        transport = self._transport
        if transport is None or transport.is_closing():
            on_reply(ConnectionLostError("The connection to Redis is closed."))
            return
        self._pending.append((self._loop.time(), on_reply))
        transport.write(command)

    async def execute(self, *arguments: str | bytes | int) -> Reply:
        """Send one command and wait for its reply.

        Raises:
            hiredis.ReplyError: Redis replied with an error.
            OSError: there is no reply.
        """
        return await self.execute_encoded(encode_command(*arguments))

    async def execute_encoded(self, command: bytes) -> Reply:
        """Send one encoded command and wait for its reply; raises the same as `execute`."""
        replied: asyncio.Future[Reply] = self._loop.create_future()

        def on_reply(reply: Reply) -> None:
            if not replied.done():  # it is, where the waiting task was cancelled
                replied.set_result(reply)

        self.send(command, on_reply)
        reply = await replied
        if isinstance(reply, Exception):
            raise reply
        return reply

    @property
    def oldest_pending_since(self) -> float | None:
        """Return when the oldest pending command was sent, by the clock of the event loop."""
        return self._pending[0][0] if self._pending else None

    def fail_pending(self, error: OSError) -> None:
        """Pass an error to all pending commands; replies that still come are discarded."""
        callbacks = [on_reply for _, on_reply in self._pending]
        for position, (sent, _) in enumerate(self._pending):
            self._pending[position] = (sent, discard_reply)
        for on_reply in callbacks:
            on_reply(error)

    def abort(self) -> None:
        """Close the connection at once; `connection_lost` follows."""
        if self._transport is not None:
            self._transport.abort()


def encode_command(*arguments: str | bytes | int) -> bytes:
    """Encode a command in RESP, the Redis protocol."""
    parts = [b"*%d\r\n" % len(arguments)]
    for argument in arguments:
        data = argument if isinstance(argument, bytes) else str(argument).encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(parts)


def discard_reply(_: Reply) -> None:
    """Ignore a reply that nobody needs."""
