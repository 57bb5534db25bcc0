"""Watches that a client reads what it is sent; one that does not is given up."""

import asyncio

from service_platform.server.capacity import Abortable, UnreadAnswers
from service_platform.server.states import Limits


class WriteWatch:
    """A timer that runs while a client has yet to read what was written.

    Args:
        connection: given up when its client reads too slowly.
        transport: of the connection.
        limits: the least speed.
        unread: the bound over all connections.
        loop: event loop of the connection.
    """

    __slots__ = ("_closing", "_connection", "_limits", "_loop", "_size", "_timer", "_transport",
                 "_unread")  # fmt: skip

    def __init__(
        self,
        connection: Abortable,
        transport: asyncio.Transport,
        limits: Limits,
        unread: UnreadAnswers,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._connection = connection
        self._transport = transport
        self._limits = limits
        self._unread = unread
        self._loop = loop
        self._size = 0
        self._closing = False
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to watch: more was written than the connection takes at once."""
        self._size = self._transport.get_write_buffer_size()
        self._unread.put(self._connection, self._size, self._loop)
        if self._timer is None:
            self._timer = self._loop.call_later(self._limits.progress, self._check)

    def finish(self) -> None:
        """Stop watching: most was read. What is left is watched on while the connection closes."""
        self._unread.remove(self._connection)
        if not self._closing:
            self.stop()

    def close(self) -> None:
        """Close the connection once everything is sent, which must happen in time."""
        self._closing = True
        self._transport.close()
        if self._timer is None and self._transport.get_write_buffer_size():
            self.start()

    def stop(self) -> None:
        """Stop watching: the connection is closed."""
        self._unread.remove(self._connection)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check(self) -> None:
        self._timer = None
        size = self._transport.get_write_buffer_size()
        if self._size - size < min(self._size, self._limits.progress_bytes):
            self._connection.abort("write_timeout")
        elif size:
            self.start()
