"""A client must read what it is sent, or its connection is given up."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from socket import socket

from socket_pairs import connected, read_all

from service_platform.server.capacity import UnreadAnswers
from service_platform.server.states import Limits
from service_platform.server.writing import WriteWatch

LIMITS = Limits(progress=0.1, bytes_per_second=10_000)
SIZE = 8_000_000


@dataclass(eq=False)
class Watched:
    """A connection whose client has more to read than it takes at once."""

    transport: asyncio.Transport
    there: socket
    unread: UnreadAnswers = field(default_factory=lambda: UnreadAnswers(10 * SIZE))
    reasons: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.watch = WriteWatch(self, self.transport, LIMITS, self.unread, loop)

    def abort(self, reason: str) -> None:
        self.reasons.append(reason)
        self.watch.stop()
        self.transport.abort()


@contextlib.asynccontextmanager
async def watched(size: int = SIZE) -> AsyncIterator[Watched]:
    async with connected() as (transport, there):
        transport.write(b"x" * size)
        connection = Watched(transport, there)
        yield connection
        connection.watch.stop()


async def test_a_client_that_reads_nothing_is_given_up() -> None:
    async with watched() as connection:
        connection.watch.start()
        assert 0 < connection.unread.total <= SIZE
        await asyncio.sleep(0.4)
        assert connection.reasons == ["write_timeout"]
        assert connection.unread.total == 0


async def test_a_client_that_reads_on_is_kept() -> None:
    async with watched() as connection:
        connection.watch.start()
        before = connection.unread.total
        for _ in range(20):
            read_all(connection.there)
            await asyncio.sleep(0.02)
        assert connection.reasons == []
        assert connection.unread.total < before


async def test_the_watch_ends_when_most_was_read() -> None:
    async with watched() as connection:
        connection.watch.start()
        connection.watch.finish()
        assert connection.unread.total == 0
        await asyncio.sleep(0.3)
        assert connection.reasons == []


async def test_what_is_left_at_a_close_must_be_read_in_time() -> None:
    async with watched() as connection:
        connection.watch.close()
        connection.watch.finish()
        assert connection.transport.is_closing()
        await asyncio.sleep(0.4)
        assert connection.reasons == ["write_timeout"]


async def test_a_close_sends_everything_to_a_client_that_reads() -> None:
    async with watched() as connection:
        connection.watch.close()
        received = 0
        async with asyncio.timeout(10):
            while received < SIZE:
                received += read_all(connection.there)
                await asyncio.sleep(0)
        await asyncio.sleep(0.3)
        assert connection.reasons == []


async def test_a_close_with_nothing_left_is_not_watched() -> None:
    async with watched(size=0) as connection:
        connection.watch.close()
        assert (connection.watch._timer, connection.unread.total) == (None, 0)
