"""Who gets the next connection: those who wait, first come, first served."""

import asyncio
from collections import deque
from typing import Final, Literal, TypeVar

from sqlalchemy.pool import AsyncAdaptedQueuePool, ConnectionPoolEntry
from sqlalchemy.util.concurrency import await_
from sqlalchemy.util.queue import Empty, Full, QueueCommon

T = TypeVar("T")


class RoomForAnother(Exception):  # noqa: N818 - good news
    """Ends the wait for a connection: one may be made."""


class FairQueue(QueueCommon[T]):
    """What is idle, and the line of those who wait for it.

    SQLAlchemy's own queue only wakes the first in line: whoever asks in the moment before it runs
    takes the connection, and the one woken goes to the end. Under load some requests then wait
    until their time is up while others never wait at all. Here it is handed over.

    Args:
        maxsize: most that may be idle.
        use_lifo: whether what came last goes out first.
    """

    def __init__(self, maxsize: int = 0, use_lifo: bool = False) -> None:
        self.maxsize = maxsize
        self.use_lifo = use_lifo
        self._idle: Final[deque[T]] = deque()
        self._line: Final[deque[asyncio.Future[T]]] = deque()

    def qsize(self) -> int:
        """Return how many are idle; while somebody waits, none is."""
        return len(self._idle)

    def empty(self) -> bool:
        """Return whether none is idle."""
        return not self._idle

    def full(self) -> bool:
        """Return whether no further one may be idle."""
        return 0 < self.maxsize <= len(self._idle)

    def put_nowait(self, item: T) -> None:
        """Hand an item to the first in line; without a line it is idle.

        Raises:
            Full: there are enough idle ones.
        """
        first = self._next_in_line()
        if first is not None:
            first.set_result(item)
        elif self.full():
            raise Full
        else:
            self._idle.append(item)

    def put(self, item: T, block: bool = True, timeout: float | None = None) -> None:
        """Do the same; the pool never waits for room."""
        del block, timeout
        self.put_nowait(item)

    def get_nowait(self) -> T:
        """Take an idle one.

        Raises:
            Empty: there is none.
        """
        if not self._idle:
            raise Empty
        return self._idle.pop() if self.use_lifo else self._idle.popleft()

    def get(self, block: bool = True, timeout: float | None = None) -> T:
        """Take an idle one, or wait in line.

        Args:
            block: whether to wait.
            timeout: seconds to wait at most.

        Raises:
            Empty: there is none, or none came in time.
            RoomForAnother: `tell_of_room` was called, and this one was the first in line.
        """
        if self._idle or not block:
            return self.get_nowait()
        return await_(self._wait(timeout))

    def tell_of_room(self) -> None:
        """End the wait of the first in line with `RoomForAnother`."""
        first = self._next_in_line()
        if first is not None:
            first.set_exception(RoomForAnother)

    def _next_in_line(self) -> "asyncio.Future[T] | None":
        while self._line:
            first = self._line.popleft()
            if not first.done():
                return first
        return None

    async def _wait(self, timeout: float | None) -> T:
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[T] = loop.create_future()
        self._line.append(turn)
        patience = None if timeout is None else loop.call_later(timeout, _give_up, turn)
        try:
            return await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # its turn came in the same moment: let it be the next one's
                try:
                    self.put_nowait(turn.result())
                except RoomForAnother:
                    self.tell_of_room()
                except Empty:
                    pass
            raise
        finally:
            if patience is not None:
                patience.cancel()


def _give_up(turn: "asyncio.Future[T]") -> None:
    if not turn.done():
        turn.set_exception(Empty)


class FairPool(AsyncAdaptedQueuePool):
    """A pool with a fair line.

    Where a connection could not be made or was closed for good, there is room for another, and the
    next in line makes it instead of waiting for one that nobody will give back.
    """

    _queue_class = FairQueue
    _pool: FairQueue[ConnectionPoolEntry]

    def _do_get(self) -> ConnectionPoolEntry:
        while True:
            try:
                return super()._do_get()
            except RoomForAnother:
                continue

    def _dec_overflow(self) -> Literal[True]:
        super()._dec_overflow()
        self._pool.tell_of_room()
        return True


__all__ = ["FairPool"]
