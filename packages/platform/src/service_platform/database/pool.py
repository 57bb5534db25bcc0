"""Pools connections, and serves waiting requests in the order they asked."""

import asyncio
import time
from collections import deque
from typing import Any, Final, Literal, TypeVar, cast

import asyncpg
from prometheus_client import Histogram
from sqlalchemy.exc import InvalidRequestError, MissingGreenlet
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import AsyncAdaptedQueuePool, ConnectionPoolEntry, PoolProxiedConnection
from sqlalchemy.util.concurrency import await_
from sqlalchemy.util.queue import Empty, Full, QueueCommon

from service_platform.errors.database import DatabaseUnavailableError, TooManyConnectionsError

T = TypeVar("T")

CHECKOUT_ATTEMPTS: Final = 3
"""How often a checkout is tried whose connection the server ends before it is handed out."""
SERVER_FULL_SECONDS: Final = 1.0
"""How long a pool with open connections makes no new ones after the server refused one."""

wait_seconds = Histogram(
    "database_pool_wait_seconds",
    "Time that requests waited for a connection because all were in use, whether they got one or "
    "gave up. Those that found one free or room for another are not in it.",
    ("pool",),
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)

LOST_AT_CHECKOUT: Final = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    ConnectionError,
    InvalidRequestError,
)
"""Errors of the driver while a connection is set up; the last is SQLAlchemy's when a connection
was closed again and again at checkout."""


class CapacityAvailable(Exception):  # noqa: N818 - a signal, not a failure
    """Ends the wait for a connection: the pool may open another one."""


class ConnectionQueue(QueueCommon[T]):
    """Holds the idle connections of a pool and the requests that wait for one.

    SQLAlchemy's own queue only wakes the first waiter: whoever asks in the moment before it runs
    takes the connection, and the one woken goes to the end. Under load some requests then wait
    until their time is up while others never wait at all. Here the connection is handed over.

    Args:
        maxsize: most that may be idle; 0 for no limit.
        use_lifo: whether what came last goes out first.
    """

    def __init__(self, maxsize: int = 0, use_lifo: bool = False) -> None:
        self.maxsize = maxsize
        self.use_lifo = use_lifo
        self._idle: Final[deque[T]] = deque()
        self._waiters: Final[deque[asyncio.Future[T]]] = deque()

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
        """Hand an item to the first waiter; without waiters it becomes idle.

        Raises:
            Full: there are enough idle ones.
        """
        waiter = self._next_waiter()
        if waiter is not None:
            waiter.set_result(item)
        elif self.full():
            raise Full
        else:
            self._idle.append(item)

    def put(self, item: T, block: bool = True, timeout: float | None = None) -> None:
        """Do the same as `put_nowait`; the pool never waits for room."""
        del block, timeout
        self.put_nowait(item)

    def get_nowait(self) -> T:
        """Take an idle item.

        Raises:
            Empty: there is none.
        """
        if not self._idle:
            raise Empty
        return self._idle.pop() if self.use_lifo else self._idle.popleft()

    def get(self, block: bool = True, timeout: float | None = None) -> T:
        """Take an idle item, or wait for one behind the other waiters.

        Args:
            block: whether to wait.
            timeout: seconds to wait at most.

        Raises:
            Empty: there is none, or none came in time.
            CapacityAvailable: `notify_capacity` was called, and this was the first waiter.
        """
        if self._idle or not block:
            return self.get_nowait()
        return self.wait(timeout)

    def wait(self, timeout: float | None, *, first: bool = False) -> T:
        """Wait for an item.

        Args:
            timeout: seconds to wait at most.
            first: whether to wait in front of the other waiters: it was the first before.

        Raises:
            Empty: none came in time.
            CapacityAvailable: as with `get`.
        """
        return await_(self._wait(timeout, first=first))

    def notify_capacity(self) -> None:
        """End the wait of the first waiter with `CapacityAvailable`."""
        waiter = self._next_waiter()
        if waiter is not None:
            waiter.set_exception(CapacityAvailable)

    def _next_waiter(self) -> "asyncio.Future[T] | None":
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                return waiter
        return None

    async def _wait(self, timeout: float | None, *, first: bool) -> T:
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[T] = loop.create_future()
        if first:
            self._waiters.appendleft(waiter)
        else:
            self._waiters.append(waiter)
        timer = None if timeout is None else loop.call_later(timeout, _time_out, waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            if not waiter.cancelled():  # served in the same moment: pass it on to the next waiter
                try:
                    self.put_nowait(waiter.result())
                except CapacityAvailable:
                    self.notify_capacity()
                except Empty:
                    pass
            raise
        finally:
            if timer is not None:
                timer.cancel()


def _time_out(waiter: "asyncio.Future[T]") -> None:
    if not waiter.done():
        waiter.set_exception(Empty)


class FairQueuePool(AsyncAdaptedQueuePool):
    """A queue pool that serves its waiters first come, first served.

    A connection that could not be opened or was closed for good makes room for another: the first
    waiter opens it instead of waiting for one that nobody will check in. When the server has no
    connection left for this pool, requests wait for those the pool has.

    Attributes:
        label: of the pool in the metrics.
    """

    label = "database"

    _queue_class: type[QueueCommon[ConnectionPoolEntry]] = ConnectionQueue
    _pool: ConnectionQueue[ConnectionPoolEntry]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._opening = 0
        self._server_full_until = float("-inf")

    def connect(self) -> PoolProxiedConnection:
        """Check a connection out.

        Raises:
            DatabaseUnavailableError: none could be opened, or each was lost before it was usable.
            MissingGreenlet: it was called outside of a greenlet and one has to be opened.
            TimeoutError: of SQLAlchemy: none became free in time.
        """
        last: Exception | None = None
        for _ in range(CHECKOUT_ATTEMPTS):
            try:
                return super().connect()
            except MissingGreenlet:  # an `InvalidRequestError`, but none of a lost connection
                raise
            except TooManyConnectionsError as error:  # an old one could not be replaced
                if not self._has_open_connections():
                    raise
                last = error
            except TimeoutError as error:  # of the driver, while it sets a connection up
                raise DatabaseUnavailableError("no_answer") from error
            except LOST_AT_CHECKOUT as error:
                last = error
        raise DatabaseUnavailableError("connection_lost") from last

    def recreate(self) -> "FairQueuePool":
        """Make the pool that takes over when this one is disposed of."""
        pool = cast("FairQueuePool", super().recreate())
        pool.label = self.label
        return pool

    def replace_all(self) -> None:
        """Let every connection that is open now be replaced before it is used again."""
        self._invalidate_time = time.time()

    def _do_get(self) -> ConnectionPoolEntry:
        """Take an idle connection, open a new one where there is room, or wait."""
        deadline = time.monotonic() + self._timeout
        was_first = False
        waiting_since: float | None = None
        try:
            while True:
                if not self._pool.empty():
                    return self._pool.get_nowait()
                if self._may_open() and self._inc_overflow():
                    try:
                        return self._open()
                    except TooManyConnectionsError:
                        if not self._has_open_connections():
                            raise
                        if not self._pool.empty():  # one was checked in meanwhile
                            continue
                now = time.monotonic()
                waiting_since = waiting_since or now
                try:
                    return self._pool.wait(deadline - now, first=was_first)
                except CapacityAvailable:
                    was_first = True
                except Empty:
                    raise self._pool_timeout() from None
        finally:
            if waiting_since is not None:
                wait_seconds.labels(self.label).observe(time.monotonic() - waiting_since)

    def _open(self) -> ConnectionPoolEntry:
        self._opening += 1
        try:
            return self._create_connection()
        except TooManyConnectionsError:
            self._server_full_until = time.monotonic() + SERVER_FULL_SECONDS
            if self._has_open_connections():
                super()._dec_overflow()  # a waiter could not open one either
            else:
                self._dec_overflow()
            raise
        except BaseException:
            self._dec_overflow()
            raise
        finally:
            self._opening -= 1

    def _may_open(self) -> bool:
        return time.monotonic() >= self._server_full_until or not self._has_open_connections()

    def _has_open_connections(self) -> bool:
        return self.size() + self._overflow > self._opening

    def _do_return_conn(self, record: ConnectionPoolEntry) -> None:
        if record.dbapi_connection is None:  # invalidated: whoever is next opens a new one
            self._dec_overflow()
        else:
            super()._do_return_conn(record)

    def _dec_overflow(self) -> Literal[True]:
        super()._dec_overflow()
        self._pool.notify_capacity()
        return True

    def _pool_timeout(self) -> PoolTimeout:
        return PoolTimeout(
            f"No connection of the pool became free in {self._timeout:.2f} seconds.", code="3o7r"
        )


__all__ = ["FairQueuePool"]
