"""Stops calling a service that fails: the circuit breaker of an HTTP client.

While the circuit is closed, attempts go through. It opens when half of at least ten attempts of the
last ten seconds failed: a call then ends at once, and the service that is called has a moment
without load. After a time it is half-open: one attempt at a time goes through as a probe. One that
succeeds closes the circuit, one that fails opens it for twice as long.

    with breaker.attempt() as attempt:  # raises CircuitOpenError
        answer = await send(request)
        attempt.record(failed=answer.status_code == 503)

An attempt that records nothing says nothing about the other service: its caller left, say.
"""

import math
import random
import time
from collections import deque
from collections.abc import Callable
from enum import StrEnum
from typing import Final, Self

from prometheus_client import Gauge

from service_platform.logging import get_logger

WINDOW_SECONDS: Final = 10
FEWEST_ATTEMPTS: Final = 10
FAILED_SHARE: Final = 0.5
FIRST_OPEN_SECONDS: Final = 2.0
LONGEST_OPEN_SECONDS: Final = 30.0
"""Bounds of the time a circuit stays open. It is random between half of the bound and all of it, so
that replicas do not send their probes at once, and the bound doubles with each failed probe."""

circuit_open = Gauge(
    "http_client_circuit_open",
    "1 while calls of the service end at once because it failed (open or half-open), else 0.",
    ("service",),
    multiprocess_mode="livemax",
)

log = get_logger("service_platform.http_client")


class CircuitState(StrEnum):
    """States of a circuit breaker."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class CircuitOpenError(Exception):
    """The attempt is not made, because the circuit breaker is open.

    Attributes:
        retry_after: seconds until another may be.
    """

    def __init__(self, retry_after: float) -> None:
        super().__init__("The circuit breaker is open.")
        self.retry_after = retry_after


class CircuitBreaker:
    """Decides which attempts to call one service are made.

    Args:
        service: label of the metric and name in the log.
        clock: seconds that only grow.
        uniform: random number between two others.

    Attributes:
        state: changes with an attempt only: an open circuit is half-open once the next one is made.
    """

    def __init__(
        self,
        service: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self.state = CircuitState.CLOSED
        self._service = service
        self._clock = clock
        self._uniform = uniform
        self._window = _SlidingWindow()
        self._openings = 0
        self._failed_probes = 0
        self._open_until = 0.0
        self._probe: Attempt | None = None
        self._gauge = circuit_open.labels(service)
        self._gauge.set(0)

    def attempt(self) -> "Attempt":
        """Ask for an attempt; it ends with its `with` block.

        Raises:
            CircuitOpenError: it is not to be made.
        """
        if self.state is CircuitState.CLOSED:
            return Attempt(self, self._openings)
        left = self._open_until - self._clock()
        if left > 0 or self._probe is not None:
            raise CircuitOpenError(max(left, 0.0))
        if self.state is CircuitState.OPEN:
            self.state = CircuitState.HALF_OPEN
            log.info("circuit_half_open", target=self._service)
        self._probe = Attempt(self, self._openings)
        return self._probe

    def record(self, attempt: "Attempt", *, failed: bool) -> None:
        """Count what came of an attempt; one that began before the circuit opened tells no news."""
        if attempt is self._probe:
            self._probe = None
            if failed:
                self._failed_probes += 1
                self._open()
            else:
                self._close()
        elif self.state is CircuitState.CLOSED and attempt.openings == self._openings:
            self._window.add(self._clock(), failed=failed)
            if failed and self._window.is_bad:
                self._open()

    def end(self, attempt: "Attempt") -> None:
        """Let another probe through where this one ended without a result."""
        if attempt is self._probe:
            self._probe = None

    def _open(self) -> None:
        bound = min(FIRST_OPEN_SECONDS * 2.0 ** min(self._failed_probes, 16), LONGEST_OPEN_SECONDS)
        seconds = self._uniform(bound / 2, bound)
        self.state = CircuitState.OPEN
        self._open_until = self._clock() + seconds
        self._openings += 1
        self._gauge.set(1)
        log.warning("circuit_opened", target=self._service, seconds=round(seconds, 1))

    def _close(self) -> None:
        self.state = CircuitState.CLOSED
        self._failed_probes = 0
        self._window = _SlidingWindow()
        self._gauge.set(0)
        log.info("circuit_closed", target=self._service)


class Attempt:
    """One attempt to call the service.

    Args:
        breaker: that lets it through.
        openings: how often the circuit had opened before.
    """

    __slots__ = ("_breaker", "openings")

    def __init__(self, breaker: CircuitBreaker, openings: int) -> None:
        self._breaker = breaker
        self.openings = openings

    def record(self, *, failed: bool) -> None:
        """Tell the breaker what came of it."""
        self._breaker.record(self, failed=failed)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._breaker.end(self)


class _SlidingWindow:
    """The attempts of the last ten seconds, added up by second."""

    def __init__(self) -> None:
        self._seconds: deque[tuple[int, list[int]]] = deque()
        self._attempts = 0
        self._failures = 0

    @property
    def is_bad(self) -> bool:
        """Whether there were enough attempts, and too many of them failed."""
        return self._attempts >= FEWEST_ATTEMPTS and self._failures >= FAILED_SHARE * self._attempts

    def add(self, now: float, *, failed: bool) -> None:
        """Add an attempt and forget those that are too old."""
        second = math.floor(now)
        while self._seconds and self._seconds[0][0] <= second - WINDOW_SECONDS:
            _, (attempts, failures) = self._seconds.popleft()
            self._attempts -= attempts
            self._failures -= failures
        if not self._seconds or self._seconds[-1][0] != second:
            self._seconds.append((second, [0, 0]))
        counts = self._seconds[-1][1]
        counts[0] += 1
        counts[1] += failed
        self._attempts += 1
        self._failures += failed


__all__ = ["Attempt", "CircuitBreaker", "CircuitOpenError", "CircuitState"]
