"""Measures the process while an application is served."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from service_platform.metrics import SEVERAL_PROCESSES
from service_platform.runtime.event_loop_lag import EventLoopLag
from service_platform.runtime.garbage_collection import pauses
from service_platform.runtime.process_resources import shared_process_metrics

TICKS_OF_AN_UPDATE: Final = 20
"""Descriptors are counted every five seconds: a busy process has thousands."""


@contextmanager
def measure_runtime() -> Iterator[None]:
    """Measure the event loop that runs, and its process, until the end of the `with` block.

    Applications that are served side by side share their collector: garbage collections are
    measured from the first of them to the end of the process. Does nothing on another event loop
    than asyncio's.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        yield
        return
    pauses.start()
    shared = shared_process_metrics() if SEVERAL_PROCESSES else None
    ticks = 0

    def on_tick() -> None:
        nonlocal ticks
        pauses.observe()
        if shared is not None and ticks % TICKS_OF_AN_UPDATE == 0:
            shared.update()
        ticks += 1

    lag = EventLoopLag(on_tick)
    on_tick()
    lag.start()
    try:
        yield
    finally:
        lag.stop()
        pauses.observe()
