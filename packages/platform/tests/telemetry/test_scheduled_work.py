"""Scheduled work is a trace each time, where that is not too often."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from service_platform import background
from service_platform.background import TRACED_FROM_SECONDS, TaskSupervisor
from service_platform.telemetry.tracing import is_recording, span
from service_testing.collector import Collector, ReceivedSpan


@pytest.fixture
async def supervisor(exporting: Collector) -> AsyncIterator[TaskSupervisor]:
    made = TaskSupervisor("nightly")
    yield made
    await made.stop()


@pytest.fixture
def spans_until(exporting: Collector) -> Callable[[int], Awaitable[list[ReceivedSpan]]]:
    """Waits until so many spans have arrived; returns all."""

    async def wait(count: int) -> list[ReceivedSpan]:
        await asyncio.to_thread(exporting.wait_for, lambda spans: len(spans) >= count)
        return exporting.spans

    return wait


SpansUntil = Callable[[int], Awaitable[list[ReceivedSpan]]]


@pytest.mark.parametrize(
    ("seconds", "traced", "recorded"),
    [
        (TRACED_FROM_SECONDS, None, True),
        (TRACED_FROM_SECONDS - 0.1, None, False),
        (TRACED_FROM_SECONDS, False, False),
        (0.1, True, True),
    ],
)
async def test_what_is_done_seldom_is_traced(
    supervisor: TaskSupervisor, seconds: float, traced: bool | None, recorded: bool
) -> None:
    done = asyncio.get_running_loop().create_future()

    async def work() -> None:
        if not done.done():
            done.set_result(is_recording())

    supervisor.every(seconds, work, traced=traced)
    assert await done is recorded


async def test_each_time_is_a_trace_of_its_own(
    supervisor: TaskSupervisor, spans_until: SpansUntil
) -> None:
    wake = asyncio.Event()

    async def _clean_up() -> None:
        with span("step"):
            pass

    with span("of whoever starts it"):
        supervisor.every(3600, _clean_up, wake=wake)
        await asyncio.sleep(0)
    await spans_until(3)
    wake.set()
    spans = await spans_until(5)
    times = [each for each in spans if each.name == "nightly:clean_up"]
    steps = [each for each in spans if each.name == "step"]
    assert len({each.trace_id for each in times}) == 2
    assert [each.parent_id for each in times] == ["", ""]
    assert [each.parent_id for each in steps] == [each.span_id for each in times]
    (starter,) = [each for each in spans if each.name == "of whoever starts it"]
    assert starter.trace_id not in {each.trace_id for each in times}


async def test_a_failure_is_in_the_trace_of_its_time(
    supervisor: TaskSupervisor, spans_until: SpansUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "FIRST_BACKOFF_SECONDS", 0.001)
    failures = [KeyError("ours")]

    async def work() -> None:
        if failures:
            raise failures.pop()

    supervisor.every(3600, work)
    failed, succeeded = await spans_until(2)
    assert failed.is_error
    assert failed.attributes["error.type"] == "KeyError"
    ((name, attributes),) = failed.events
    assert (name, attributes["exception.type"]) == ("exception", "KeyError")
    assert not succeeded.is_error
    assert succeeded.events == []
