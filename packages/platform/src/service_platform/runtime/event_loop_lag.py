"""Measures how late the event loop runs what is due.

A handler that computes or blocks for 200 milliseconds keeps every other request of the process
waiting for as long. Their durations show that much time and nothing of its cause; the lag does.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from prometheus_client import Histogram

INTERVAL_SECONDS: Final = 0.25

lag_seconds = Histogram(
    "event_loop_lag_seconds",
    "How late the event loop ran a timer, measured four times a second.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)


class EventLoopLag:
    """Runs a timer again and again, and observes how late each run is.

    The time is not the event loop's: uvloop's has milliseconds, and stands still in a turn.

    Args:
        on_tick: called at each run, after the observation.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        on_tick: Callable[[], None],
        *,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._on_tick = on_tick
        self._clock = clock
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin, on the running event loop."""
        self._due = self._clock() + INTERVAL_SECONDS
        self._timer = asyncio.get_running_loop().call_later(INTERVAL_SECONDS, self._tick)

    def stop(self) -> None:
        """End."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        # A timer may come a little early: those of an event loop have milliseconds.
        lag_seconds.observe(max(0.0, self._clock() - self._due))
        self.start()
        self._on_tick()
