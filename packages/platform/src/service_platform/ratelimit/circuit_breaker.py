"""The circuit breaker in front of one Redis: who waits for a Redis that does not answer?

Nobody for longer than the budget, and while it is known to be away nobody at all. A breaker is
closed while calls go through. An answer that is overdue, or a lost connection, opens it. It closes
again when Redis has answered a probe of our own; no request is ever spent on finding out.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from enum import StrEnum
from typing import Final

import hiredis

from service_platform.logging import get_logger
from service_platform.ratelimit.metrics import redis_errors, redis_usable
from service_platform.ratelimit.redis_connection import (
    Address,
    Done,
    OverdueError,
    RedisConnection,
    Reply,
)

PROBE_TIMEOUT_SECONDS: Final = 1.0
FIRST_PAUSE_SECONDS: Final = 0.05
LONGEST_PAUSE_SECONDS: Final = 0.4
Introduce = Callable[[RedisConnection], Awaitable[None]]

log = get_logger("ratelimit")


class State(StrEnum):
    """Where a breaker is."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class CircuitBreaker:
    """One Redis node: its connection, its breaker, and the task that brings it back.

    Args:
        address: of the node.
        budget: seconds an answer may take.
        introduce: makes a fresh connection usable and proves that it is; raises when it is not.
    """

    def __init__(self, address: Address, *, budget: float, introduce: Introduce) -> None:
        self.address = address
        self.state = State.OPEN
        self._budget = budget
        self._introduce = introduce
        self._connection: RedisConnection | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._first_try = asyncio.Event()
        self._told = False
        self._gauge = redis_usable.labels(str(address))

    def begin(self) -> None:
        """Connect, and stay connected, in a task of its own."""
        self._first_try = asyncio.Event()
        self._task = asyncio.create_task(self._stay_connected(), name=f"redis {self.address}")

    async def first_try(self, seconds: float = PROBE_TIMEOUT_SECONDS) -> None:
        """Wait until the first attempt to connect has ended, but not longer than `seconds`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._first_try.wait()

    async def stop(self) -> None:
        """Close the connection and connect no more."""
        task, self._task = self._task, None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            self.state = State.OPEN
            await asyncio.sleep(0)  # the transport closes in the next turn of the loop

    @property
    def usable(self) -> bool:
        """Whether calls go through."""
        return self.state is State.CLOSED

    def call(self, command: bytes, done: Done) -> None:
        """Send a command while the breaker is closed; `done` gets the reply or an `OSError`."""
        connection = self._connection
        if connection is None or self.state is not State.CLOSED:
            done(OverdueError("Redis is away."))
            return
        connection.send(command, done)
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._budget, self._watch)

    async def ask(self, *arguments: str | bytes | int) -> Reply:
        """Send one command and wait for its answer.

        Raises:
            hiredis.ReplyError: Redis answered with an error.
            OSError: there is no answer.
        """
        if self._connection is None:
            raise OverdueError("Redis is away.")
        async with asyncio.timeout(PROBE_TIMEOUT_SECONDS):
            return await self._connection.ask(*arguments)

    def report(self, error: Exception) -> None:
        """Open the breaker for an answer that shows Redis cannot do its work (out of memory)."""
        self._open(error)
        if self._connection is not None:
            self._connection.abort()

    async def _stay_connected(self) -> None:
        """Connect, prove it works, wait until it is lost, and again, with growing pauses."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            connection: RedisConnection | None = None
            self.state = State.HALF_OPEN
            try:
                async with asyncio.timeout(PROBE_TIMEOUT_SECONDS):
                    connection = await RedisConnection.open(self.address)
                    await self._introduce(connection)
                self._close(connection)
                pause = FIRST_PAUSE_SECONDS
                await asyncio.shield(connection.lost)
                self._open(OverdueError("The connection to Redis was lost."))
            except Exception as error:  # noqa: BLE001 - whatever greets us there: try again later
                self._open(error)
            finally:
                self._connection = None
                if connection is not None:
                    connection.abort()
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads replicas
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    def _watch(self) -> None:
        """The one timer of a breaker: is the oldest answer overdue?"""
        self._timer = None
        connection = self._connection
        since = connection.waits_since if connection is not None else None
        if connection is None or since is None or self.state is not State.CLOSED:
            return
        loop = asyncio.get_running_loop()
        left = since + self._budget - loop.time()
        if left > 0:
            self._timer = loop.call_later(left, self._watch)
        else:
            # After a handler that held up the loop, answers that lie in the socket are read before
            # timers run, so what is still missing here is missing because of Redis.
            self._stall(connection, loop)

    def _stall(self, connection: RedisConnection, loop: asyncio.AbstractEventLoop) -> None:
        """Stop calling; a probe behind the overdue commands tells when Redis has caught up."""
        self._open(OverdueError("Redis did not answer in time."))
        self.state = State.HALF_OPEN
        connection.give_up(OverdueError("Redis did not answer in time."))
        patience = loop.call_later(PROBE_TIMEOUT_SECONDS, connection.abort)

        def answered(reply: Reply) -> None:
            patience.cancel()
            if not isinstance(reply, Exception):
                self._close(connection)

        connection.send(b"*1\r\n$4\r\nPING\r\n", answered)

    def _close(self, connection: RedisConnection) -> None:
        self._connection = connection
        self.state = State.CLOSED
        self._gauge.set(1)
        self._first_try.set()
        if self._told:
            self._told = False
            log.info("rate_limit_redis_back", redis=str(self.address))

    def _open(self, error: Exception) -> None:
        was_closed = self.state is State.CLOSED
        self.state = State.OPEN
        self._gauge.set(0)
        self._first_try.set()
        redis_errors.labels(kind_of(error)).inc()
        if not self._told:
            self._told = True
            log.warning(
                "rate_limit_redis_away",
                redis=str(self.address),
                error=kind_of(error),
                after_success=was_closed,
            )


def kind_of(error: Exception) -> str:
    """A word for logs and metrics: Redis' own error code (`READONLY`), else the exception's name.

    The text of an error is left out: it may contain an address or part of a command.
    """
    if isinstance(error, hiredis.ReplyError):
        code = str(error).partition(" ")[0]
        return code if code.isascii() and code.isalpha() and code.isupper() else "ERR"
    return type(error).__name__
