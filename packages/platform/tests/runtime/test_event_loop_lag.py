"""The lag of the event loop, with a clock of the test and on a loop that is really blocked."""

import asyncio
import time

import pytest
from prometheus_client import REGISTRY

from service_platform.runtime.event_loop_lag import INTERVAL_SECONDS, EventLoopLag

NAME = "event_loop_lag_seconds"


def observed() -> tuple[float, float]:
    """Returns how many lags there were, and their sum."""
    count, total = (REGISTRY.get_sample_value(f"{NAME}_{suffix}") for suffix in ("count", "sum"))
    return count or 0.0, total or 0.0


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("passed", "lag"), [(0.0, 0.0), (0.1, 0.1), (3.0, 3.0), (-0.001, 0.0)], ids=str
)
async def test_the_lag_is_the_time_beyond_the_planned_one(passed: float, lag: float) -> None:
    clock = Clock()
    measured = EventLoopLag(lambda: None, clock=clock)
    measured.start()
    count, total = observed()
    clock.now += INTERVAL_SECONDS + passed
    measured._tick()
    measured.stop()
    assert observed()[0] - count == 1
    assert observed()[1] - total == pytest.approx(lag, abs=1e-9)


async def test_each_run_plans_the_next_from_its_own_time() -> None:
    clock = Clock()
    measured = EventLoopLag(lambda: None, clock=clock)
    measured.start()
    clock.now += 5.0
    measured._tick()
    _, total = observed()
    clock.now += INTERVAL_SECONDS
    measured._tick()
    measured.stop()
    assert observed()[1] - total == pytest.approx(0.0, abs=1e-9)


async def test_a_handler_that_blocks_the_loop_is_seen() -> None:
    ticked = asyncio.Event()
    measured = EventLoopLag(ticked.set)
    _, before = observed()
    measured.start()
    time.sleep(INTERVAL_SECONDS + 0.1)  # noqa: ASYNC251 - a handler that blocks
    async with asyncio.timeout(20):
        await ticked.wait()
    measured.stop()
    assert observed()[1] - before >= 0.09


async def test_it_goes_on_when_what_it_calls_fails() -> None:
    calls = 0
    went_on = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda *_: None)

    def fail() -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            went_on.set()
        raise OSError

    measured = EventLoopLag(fail)
    measured.start()
    async with asyncio.timeout(20):
        await went_on.wait()
    measured.stop()
    loop.set_exception_handler(None)


async def test_nothing_is_observed_after_the_end() -> None:
    calls = 0

    def count() -> None:
        nonlocal calls
        calls += 1

    measured = EventLoopLag(count)
    measured.start()
    measured.stop()
    measured.stop()
    before = observed()
    await asyncio.sleep(INTERVAL_SECONDS * 1.5)
    assert observed() == before
    assert calls == 0
