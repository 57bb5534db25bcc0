"""Measures how long garbage collections stop the process.

A collection begins wherever an object is made, also while a metric holds its lock. So the callback
only keeps the time; observing it there could wait for ever for a lock of its own thread.
"""

import gc
import time
from collections import deque
from typing import Any, Final

from prometheus_client import Histogram

MOST_KEPT: Final = 10_000
"""Of a generation, until they are observed; a process that observes none must not keep them all."""

pause_seconds = Histogram(
    "python_gc_pause_seconds",
    "Time that a garbage collection stopped the process, by the oldest generation it looked at.",
    ("generation",),
    buckets=(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0),
)


class GarbageCollectionPauses:
    """Times the collections of this process, in whichever thread they run."""

    def __init__(self) -> None:
        self._began = 0.0
        generations = range(len(gc.get_stats()))
        self._kept: list[deque[float]] = [deque(maxlen=MOST_KEPT) for _ in generations]
        self._observe = [pause_seconds.labels(str(number)).observe for number in generations]

    def start(self) -> None:
        """Begin; does nothing where it has begun before."""
        if self._collecting not in gc.callbacks:
            gc.callbacks.append(self._collecting)

    def observe(self) -> None:
        """Add the pauses since the last time to the metric."""
        for kept, observe in zip(self._kept, self._observe, strict=True):
            while kept:
                observe(kept.popleft())

    def _collecting(self, phase: str, info: dict[str, Any]) -> None:
        if phase == "start":
            self._began = time.perf_counter()
        else:
            self._kept[info["generation"]].append(time.perf_counter() - self._began)


pauses: Final = GarbageCollectionPauses()
"""Those of this process, which has one garbage collector."""
