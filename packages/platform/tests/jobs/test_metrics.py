"""Metrics of jobs: names that dashboards, alerts and autoscalers use."""

from datetime import timedelta
from typing import Any

import pytest
from prometheus_client import REGISTRY
from shop import jobs as shop
from shop.job_watching import enqueued, until_state
from shop.watching import until

from service_platform.database import Database
from service_platform.jobs import store


def value(metric: str, /, **labels: str) -> float:
    """A sample of this metric alone: these are read again and again, beside those of all tests."""
    for found in REGISTRY.restricted_registry([metric]).collect():
        for sample in found.samples:
            if (sample.name, sample.labels) == (metric, labels):
                return sample.value
    return 0.0


async def until_gauges(name: str, **expected: float) -> None:
    async def so() -> bool:
        return all(
            value(f"jobs_{gauge}", name=name) == number for gauge, number in expected.items()
        )

    await until(so)


async def test_a_process_that_runs_no_jobs_measures_the_queue(
    database: Database, worker: Any
) -> None:
    for _ in range(3):
        await enqueued(database, shop.note, number=1)
    await enqueued(database, shop.note.with_options(delay=timedelta(hours=1)), number=1)
    async with worker(jobs_in_service=False):
        await until_gauges("note", queued=3, delayed=1, running=0, dead_letters=0)
        assert value("jobs_oldest_seconds", name="note") > 0
        async with worker():
            await until_gauges("note", queued=0, delayed=1, oldest_seconds=0)


async def test_running_jobs_and_dead_letters_are_measured(database: Database, worker: Any) -> None:
    waits = await enqueued(database, shop.wait_for_end)
    fails = await enqueued(database, shop.fail)
    async with worker(), worker(jobs_in_service=False):
        await until_state(database, waits, "running")
        await until_state(database, fails, "failed")
        await until_gauges("wait_for_end", running=1)
        await until_gauges("fail", dead_letters=1)


async def test_attempts_are_counted_by_outcome_and_timed(database: Database, worker: Any) -> None:
    def counted() -> dict[str, float]:
        return {
            "succeeded": value("jobs_attempts_total", name="note", outcome="succeeded"),
            "failed": value("jobs_attempts_total", name="fail", outcome="failed"),
            "durations": value("jobs_duration_seconds_count", name="note"),
            "delays": value("jobs_delay_seconds_count", name="fail"),
        }

    before = counted()
    note, fail = await enqueued(database, shop.note, number=1), await enqueued(database, shop.fail)
    async with worker():
        await until_state(database, note, "succeeded")
        await until_state(database, fail, "failed")
    after = counted()
    assert {name: after[name] - before[name] for name in after} == {
        "succeeded": 1,
        "failed": 3,
        "durations": 1,
        "delays": 3,
    }


async def test_ever_so_many_delayed_jobs_hide_no_queued_one(
    database: Database, worker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "MAX_COUNTED", 2)
    for _ in range(5):
        await enqueued(database, shop.note.with_options(delay=timedelta(hours=1)), number=1)
    await enqueued(database, shop.note.with_options(priority=-1), number=1)
    async with worker(jobs_in_service=False):
        await until_gauges("note", queued=1, delayed=2)
