"""A service in two processes: what it does on the wire, how it ends, and which are replaced."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any

import httpx2
import psutil
import pytest
from commands import TWO_WORKERS
from drain_tests import DRAIN, DrainTests, SecondSignalTests
from serving_tests import ServingTests

from service_platform.server.workers import restart_delay

ANY_WORKER = {"connection": "close"}
"""The next request has a connection of its own, which any worker may take."""


class TestServing(ServingTests):
    command = TWO_WORKERS


class TestDraining(DrainTests, SecondSignalTests):
    command = TWO_WORKERS


@pytest.fixture(scope="module")
def two_workers(start_for_all: Callable[..., Any]) -> Any:
    """A server of two processes, which nobody stops."""
    return start_for_all(TWO_WORKERS, **DRAIN)


def test_metrics_of_one_worker_answer_for_all(two_workers: Any) -> None:
    with httpx2.Client(verify=False, base_url=two_workers.url) as client:
        for _ in range(40):
            client.get("/api/v1/fast", headers=ANY_WORKER)
        labels = 'method="GET",route="/api/v1/fast",status="200"'
        wanted = f"http_server_request_duration_seconds_count{{{labels}}} 40.0"
        # A request is counted when it is over, which its client may know a moment earlier.
        asyncio.run(until(lambda: wanted in client.get("/metrics", headers=ANY_WORKER).text))
        for _ in range(4):
            assert wanted in client.get("/metrics", headers=ANY_WORKER).text


def test_a_dead_worker_is_replaced(two_workers: Any) -> None:
    parent = psutil.Process(two_workers.process.pid)

    def is_worker(child: psutil.Process) -> bool:
        with contextlib.suppress(psutil.NoSuchProcess):
            alive = child.status() != psutil.STATUS_ZOMBIE
            return alive and "spawn_main" in " ".join(child.cmdline())
        return False

    def workers() -> set[int]:
        return {child.pid for child in parent.children() if is_worker(child)}

    asyncio.run(until(lambda: len(workers()) == 2))
    before = workers()
    asyncio.run(asyncio.sleep(1.1))
    psutil.Process(min(before)).kill()
    asyncio.run(until(lambda: len(workers()) == 2 and workers() != before))
    assert httpx2.get(f"{two_workers.url}/api/v1/fast", verify=False).status_code == 200


def test_workers_that_die_again_and_again_are_replaced_more_slowly(
    start: Callable[..., Any],
) -> None:
    running = start(TWO_WORKERS, **DRAIN)

    def die() -> bool:
        with contextlib.suppress(httpx2.TransportError):
            httpx2.get(f"{running.url}/api/v1/die", timeout=5)
        return len(running.events("worker_died")) >= 3

    asyncio.run(until(die, seconds=90))
    delays = [line["replaced_in_seconds"] for line in running.events("worker_died")]
    assert delays[:3] == [0, 1, 2]


def test_restart_delays_are_bounded() -> None:
    delays = [restart_delay(failures) for failures in range(1, 2_000)]
    assert delays[:7] == [0, 1, 2, 4, 8, 16, 30]
    assert set(delays[7:]) == {30}


async def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return
        await asyncio.sleep(0.02)
    pytest.fail("did not come true")
