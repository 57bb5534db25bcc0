"""An attempt of a job is in the trace of the request that enqueued it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from shop import jobs as shop
from shop.job_watching import enqueued, until_state

from service_platform.database import Database
from service_platform.jobs import Jobs, JobSettings, JobWorker
from service_platform.jobs.schedules import Schedules
from service_platform.telemetry.tracing import span
from service_testing.collector import Collector, ReceivedSpan

PRODUCER, CONSUMER = 4, 5


@pytest.fixture
async def database(database: Database) -> Database:
    async with database.engine.begin() as connection:
        await connection.run_sync(shop.metadata.create_all)
    return database


@asynccontextmanager
async def working(database: Database, *names: str) -> AsyncIterator[None]:
    jobs = Jobs()
    jobs.by_name = {name: shop.jobs.by_name[name] for name in names}
    worker = JobWorker(JobSettings(jobs_in_service=True), database, jobs)
    await worker.start()
    yield
    await worker.stop()


async def named(collector: Collector, name: str) -> list[ReceivedSpan]:
    def found(spans: list[ReceivedSpan]) -> list[ReceivedSpan]:
        return [each for each in spans if each.name == name]

    result: list[ReceivedSpan] = await asyncio.to_thread(collector.wait_for, found)
    return result


async def test_enqueuing_and_running_are_in_the_trace_of_the_request(
    exporting: Collector, database: Database
) -> None:
    with span("request"):
        job = await enqueued(database, shop.note, number=1)
    async with working(database, "note"):
        await until_state(database, job, "succeeded")
    [request] = await named(exporting, "request")
    [create] = await named(exporting, "enqueue note")
    [run] = await named(exporting, "run note")
    assert (create.kind, run.kind) == (PRODUCER, CONSUMER)
    assert create.trace_id == run.trace_id == request.trace_id
    assert run.parent_id == create.span_id
    assert run.attributes["messaging.message.id"] == job
    inside = [each.name for each in exporting.spans if each.parent_id == run.span_id]
    assert "INSERT effects" in inside
    assert "UPDATE jobs" in inside


async def test_a_failure_is_told_by_the_span_of_its_attempt(
    exporting: Collector, database: Database
) -> None:
    with span("request"):
        job = await enqueued(database, shop.refuse)
    async with working(database, "refuse"):
        await until_state(database, job, "failed")
    [run] = await named(exporting, "run refuse")
    assert run.attributes["error.type"] == "Conflict"


async def test_what_is_enqueued_outside_of_a_recorded_trace_makes_no_span(
    exporting: Collector, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with span("unsampled") as current:
        monkeypatch.setattr(
            "service_platform.jobs.context.trace_attributes",
            lambda _: {"traceparent": f"00-{'a' * 32}-{'b' * 16}-00"},
        )
        assert current.is_recording()
        job = await enqueued(database, shop.note, number=1)
    monkeypatch.undo()
    async with working(database, "note"):
        await until_state(database, job, "succeeded")
    with span("the end"):
        pass
    await named(exporting, "the end")
    assert not [each for each in exporting.spans if each.name == "run note"]


async def test_work_of_a_schedule_is_a_trace_of_its_own(
    exporting: Collector, database: Database
) -> None:
    schedules = Schedules([shop.tick])
    await database.run(schedules.register)
    async with database.engine.begin() as connection:
        await connection.exec_driver_sql("UPDATE job_schedules SET next_at = now()")
    with span("of whoever ticks"):
        await database.run(schedules.tick)
    async with working(database, "tick"):
        runs = await named(exporting, "run tick")
    [ticking] = await named(exporting, "of whoever ticks")
    assert runs[0].parent_id == ""
    assert runs[0].trace_id != ticking.trace_id
