"""Background tasks go on whatever happens to them, and nobody has to guess whether they do."""

import asyncio
import io
from collections.abc import AsyncIterator, Callable, Iterator

import asyncpg
import orjson
import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from sqlalchemy.exc import ProgrammingError

from service_platform import background, logging
from service_platform.background import TaskSupervisor
from service_platform.resources import HealthCheckError
from service_platform.settings import PlatformSettings

FAILURES: list[Callable[[], BaseException]] = [
    lambda: asyncpg.InterfaceError("connection is closed"),
    lambda: asyncpg.exceptions.InternalClientError("got result for unknown protocol state"),
    lambda: RedisConnectionError("away"),
    lambda: OSError("reset"),
    TimeoutError,
    lambda: KeyError("a mistake of ours"),
    lambda: ProgrammingError("SELECT", None, Exception("no such table")),
    lambda: ExceptionGroup("several", [ValueError("one")]),
    asyncio.CancelledError,
]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "FIRST_BACKOFF_SECONDS", 0.001)
    monkeypatch.setattr(background, "LONGEST_BACKOFF_SECONDS", 0.01)
    monkeypatch.setattr(background, "SETTLED_SECONDS", 0.05)


@pytest.fixture
async def supervisor() -> AsyncIterator[TaskSupervisor]:
    made = TaskSupervisor("broadcast")
    yield made
    await made.stop()


@pytest.fixture
def log() -> Iterator[Callable[[], list[dict[str, object]]]]:
    stream = io.StringIO()
    logging.configure_logging(PlatformSettings(log_format="json"), stream=stream)

    def lines() -> list[dict[str, object]]:
        logging.writer.close()
        return [
            line
            for line in map(orjson.loads, stream.getvalue().splitlines())
            if line["logger"] == "service_platform.background"
        ]

    yield lines
    logging.configure_logging(PlatformSettings())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - it is about another task
            await asyncio.sleep(0.001)


class Work:
    """Fails as often as it is told to, then works."""

    def __init__(self, failure: Callable[[], BaseException], times: int, *, endless: bool) -> None:
        self.failure, self.times, self.endless = failure, times, endless
        self.calls = 0

    async def __call__(self) -> None:
        self.calls += 1
        await asyncio.sleep(0)
        if self.calls <= self.times:
            raise self.failure()
        if self.endless:
            await asyncio.sleep(3600)


def is_healthy(supervisor: TaskSupervisor) -> bool:
    try:
        supervisor.check()
    except HealthCheckError as error:
        return error.reason != "broadcast_failing"
    return True


@pytest.mark.parametrize("failure", FAILURES)
async def test_endless_work_is_restarted_after_any_failure(
    supervisor: TaskSupervisor, failure: Callable[[], BaseException]
) -> None:
    work = Work(failure, times=3, endless=True)
    supervisor.run(work)
    await until(lambda: work.calls == 4)
    assert not is_healthy(supervisor)
    await until(lambda: is_healthy(supervisor))
    assert work.calls == 4


@pytest.mark.parametrize("failure", FAILURES)
async def test_periodic_work_is_done_again_after_any_failure(
    supervisor: TaskSupervisor, failure: Callable[[], BaseException]
) -> None:
    work = Work(failure, times=3, endless=False)
    supervisor.every(3600, work)
    await until(lambda: work.calls == 3)
    assert not is_healthy(supervisor)
    await until(lambda: work.calls == 4 and is_healthy(supervisor))


async def test_endless_work_that_returns_is_a_failure(supervisor: TaskSupervisor) -> None:
    work = Work(KeyError, times=0, endless=False)
    supervisor.run(work)
    await until(lambda: work.calls > 2)
    assert not is_healthy(supervisor)


async def test_an_outage_is_one_line_and_one_for_its_end(
    supervisor: TaskSupervisor, log: Callable[[], list[dict[str, object]]]
) -> None:
    supervisor.every(3600, Work(lambda: RedisConnectionError("away"), 5, endless=False))
    await until(lambda: not is_healthy(supervisor))
    await until(lambda: is_healthy(supervisor))
    failed, recovered = log()
    assert (failed["event"], failed["level"]) == ("background_task_failed", "warning")
    assert (failed["task"], failed["error"]) == ("broadcast:work", "ConnectionError")
    assert (recovered["event"], recovered["failures"]) == ("background_task_recovered", 5)


async def test_a_mistake_is_logged_with_its_traceback(
    supervisor: TaskSupervisor, log: Callable[[], list[dict[str, object]]]
) -> None:
    supervisor.every(3600, Work(lambda: KeyError("ours"), 1, endless=False))
    await until(lambda: not is_healthy(supervisor))
    await until(lambda: is_healthy(supervisor))
    failed = log()[0]
    assert (failed["level"], failed["error"]) == ("error", "KeyError")
    assert "Traceback" in str(failed)


async def test_a_task_that_something_else_cancels_is_seen(
    supervisor: TaskSupervisor, log: Callable[[], list[dict[str, object]]]
) -> None:
    supervisor.run(Work(KeyError, times=0, endless=True))
    await asyncio.sleep(0)
    (task,) = [each for each in asyncio.all_tasks() if each.get_name() == "broadcast:work"]
    task.cancel()
    await until(task.done)
    assert not is_healthy(supervisor)
    assert [line["event"] for line in log()] == ["background_task_ended"]


async def test_waking_ends_the_pause(supervisor: TaskSupervisor) -> None:
    wake = asyncio.Event()
    work = Work(KeyError, times=0, endless=False)
    supervisor.every(3600, work, wake=wake)
    for times in (1, 2, 3):
        await until(lambda: work.calls == times)  # noqa: B023 - awaited within the turn
        wake.set()
    await until(lambda: work.calls == 4)


async def test_failures_in_a_row_wait_ever_longer(
    supervisor: TaskSupervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "LONGEST_BACKOFF_SECONDS", 3600.0)
    work = Work(KeyError, times=10**9, endless=False)
    supervisor.every(3600, work)
    await asyncio.sleep(0.2)
    assert 4 <= work.calls <= 12


async def test_stopping_ends_every_task_and_is_no_failure(
    log: Callable[[], list[dict[str, object]]],
) -> None:
    supervisor = TaskSupervisor("broadcast")
    supervisor.run(Work(KeyError, times=0, endless=True))
    supervisor.every(3600, Work(KeyError, times=0, endless=False))
    await asyncio.sleep(0.01)
    await supervisor.stop()
    assert not [each for each in asyncio.all_tasks() if each.get_name().startswith("broadcast:")]
    assert log() == []
    supervisor.check()
