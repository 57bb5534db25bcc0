"""Stop calling a Redis that does not answer: the circuit breaker of one Redis node.

While the circuit is closed, calls go through. A reply that is overdue, a lost connection or a Redis
that cannot write opens it: from then on no request waits for Redis. It closes again once Redis has
answered a probe in the background, never a request (half-open). So a request waits for the time-out
once at most.
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
from service_platform.ratelimit.pipelined_connection import (
    OnReply,
    OverdueError,
    PipelinedConnection,
    Reply,
    encode_command,
)
from service_platform.ratelimit.redis_address import RedisAddress

PROBE_TIMEOUT_SECONDS: Final = 1.0
MIN_RECONNECT_SECONDS: Final = 0.05
MAX_RECONNECT_SECONDS: Final = 0.4

Handshake = Callable[[PipelinedConnection], Awaitable[None]]

_PING: Final = encode_command("PING")

log = get_logger("ratelimit")


class CircuitState(StrEnum):
    """States of a circuit breaker."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class CircuitOpenError(OSError):
    """The command was not sent, because the circuit breaker is open."""


class CircuitBreaker:
    """Call one Redis node while it answers, and reconnect to it in the background.

    Args:
        address: of the node.
        timeout: seconds that a reply may take.
        handshake: authenticates a new connection and proves that it is usable; raises when not.
    """

    def __init__(self, address: RedisAddress, *, timeout: float, handshake: Handshake) -> None:
        self.address = address
        self.state = CircuitState.OPEN
        self._timeout = timeout
        self._handshake = handshake
        self._connection: PipelinedConnection | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._attempted = asyncio.Event()
        self._outage_logged = False
        self._gauge = redis_usable.labels(str(address))

    def start(self) -> None:
        """Connect and stay connected, in a background task."""
        self._attempted = asyncio.Event()
        self._task = asyncio.create_task(self._stay_connected(), name=f"redis {self.address}")

    async def wait_for_first_attempt(self, seconds: float = PROBE_TIMEOUT_SECONDS) -> None:
        """Wait until the first attempt to connect has ended, but not longer than `seconds`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._attempted.wait()

    async def stop(self) -> None:
        """Close the connection and stop reconnecting."""
        task, self._task = self._task, None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            self.state = CircuitState.OPEN
            await asyncio.sleep(0)  # the transport closes in the next turn of the loop

    @property
    def is_closed(self) -> bool:
        """Return whether calls go through."""
        return self.state is CircuitState.CLOSED

    def send(self, command: bytes, on_reply: OnReply) -> None:
        """Send an encoded command; `on_reply` gets the reply, or an `OSError` where none comes."""
        connection = self._connection
        if connection is None or self.state is not CircuitState.CLOSED:
            on_reply(CircuitOpenError("Redis is unavailable."))
            return
        connection.send(command, on_reply)
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._timeout, self._check_overdue)

    async def execute(self, *arguments: str | bytes | int) -> Reply:
        """Send one command and wait for its reply, whatever the state of the circuit.

        Raises:
            hiredis.ReplyError: Redis replied with an error.
            OSError: there is no reply.
        """
        if self._connection is None:
            raise CircuitOpenError("Redis is unavailable.")
        async with asyncio.timeout(PROBE_TIMEOUT_SECONDS):
            return await self._connection.execute(*arguments)

    def trip(self, error: Exception) -> None:
        """Open the circuit and reconnect, for a Redis that answers but cannot do its work."""
        self._open_circuit(error)
        if self._connection is not None:
            self._connection.abort()

    async def _stay_connected(self) -> None:
        """Connect, wait until the connection is lost, and reconnect with growing pauses."""
        pause = MIN_RECONNECT_SECONDS
        while True:
            connection: PipelinedConnection | None = None
            self.state = CircuitState.HALF_OPEN
            try:
                async with asyncio.timeout(PROBE_TIMEOUT_SECONDS):
                    connection = await PipelinedConnection.open(self.address)
                    await self._handshake(connection)
                self._close_circuit(connection)
                pause = MIN_RECONNECT_SECONDS
                await asyncio.shield(connection.closed)
                self._open_circuit(OverdueError("The connection to Redis was lost."))
            except Exception as error:  # noqa: BLE001 - whatever listens there, try again later
                self._open_circuit(error)
            finally:
                self._connection = None
                if connection is not None:
                    connection.abort()
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads replicas
            pause = min(pause * 2, MAX_RECONNECT_SECONDS)

    def _check_overdue(self) -> None:
        """Check whether the oldest reply is overdue (the only timer of a breaker)."""
        self._timer = None
        connection = self._connection
        since = connection.oldest_pending_since if connection is not None else None
        if connection is None or since is None or self.state is not CircuitState.CLOSED:
            return
        loop = asyncio.get_running_loop()
        left = since + self._timeout - loop.time()
        if left > 0:
            self._timer = loop.call_later(left, self._check_overdue)
        else:
            # The loop reads sockets before it runs timers. So after a handler that blocked the
            # loop, replies that have arrived are no longer pending here.
            self._probe_overdue(connection, loop)

    def _probe_overdue(
        self, connection: PipelinedConnection, loop: asyncio.AbstractEventLoop
    ) -> None:
        """Open the circuit; a PING behind the overdue commands tells when Redis has caught up."""
        error = OverdueError("Redis did not answer in time.")
        self._open_circuit(error)
        self.state = CircuitState.HALF_OPEN
        connection.fail_pending(error)
        probe_timer = loop.call_later(PROBE_TIMEOUT_SECONDS, connection.abort)

        def on_pong(reply: Reply) -> None:
            probe_timer.cancel()
            if not isinstance(reply, Exception):
                self._close_circuit(connection)

        connection.send(_PING, on_pong)

    def _close_circuit(self, connection: PipelinedConnection) -> None:
        self._connection = connection
        self.state = CircuitState.CLOSED
        self._gauge.set(1)
        self._attempted.set()
        if self._outage_logged:
            self._outage_logged = False
            log.info("rate_limit_redis_back", redis=str(self.address))

    def _open_circuit(self, error: Exception) -> None:
        was_closed = self.state is CircuitState.CLOSED
        self.state = CircuitState.OPEN
        self._gauge.set(0)
        self._attempted.set()
        redis_errors.labels(error_kind(error)).inc()
        if not self._outage_logged:
            self._outage_logged = True
            log.warning(
                "rate_limit_redis_away",
                redis=str(self.address),
                error=error_kind(error),
                after_success=was_closed,
            )


def error_kind(error: Exception) -> str:
    """Return the kind of an error for logs and metrics: its Redis error code, else its class.

    The message is left out, because it may contain an address or part of a command.
    """
    if isinstance(error, hiredis.ReplyError):
        code = str(error).partition(" ")[0]
        return code if code.isascii() and code.isalpha() and code.isupper() else "ERR"
    return type(error).__name__
