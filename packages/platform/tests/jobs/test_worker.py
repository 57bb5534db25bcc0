"""The worker: what becomes of jobs, in the ordinary course and when things go wrong."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from shop import jobs as shop
from shop.job_watching import column, effects, enqueued, until_state
from shop.watching import rows, until
from sqlalchemy import text

from service_platform.database import Database
from service_platform.jobs import Jobs, JobSettings, JobWorker, store
from service_platform.jobs import worker as worker_module
from service_platform.resources import HealthCheckError
from service_testing.databases import TestDatabases
from service_testing.postgres import LocalPostgres


async def execute(database: Database, statement: str, **parameters: Any) -> None:
    async with database.engine.begin() as connection:
        await connection.execute(text(statement), parameters)


async def test_a_job_is_run_and_its_result_kept(database: Database, worker: Any) -> None:
    job = await enqueued(database, shop.note, number=3)
    async with worker():
        await until_state(database, job, "succeeded")
    assert await effects(database) == [(3, "noted")]
    assert await column(database, job, "result") == 3
    assert await column(database, job, "progress") == 1
    assert await column(database, job, "leased_until") is None


async def test_a_job_is_begun_as_soon_as_it_is_committed(database: Database, worker: Any) -> None:
    async with worker(jobs_poll_seconds=60):
        job = await enqueued(database, shop.note, number=1)
        await until_state(database, job, "succeeded")  # which gives up long before the next poll


async def test_behind_a_pooler_the_worker_looks_instead_of_listening(
    database: Database, worker: Any
) -> None:
    async with worker(database_pooler="transaction"):
        job = await enqueued(database, shop.note, number=1)
        await until_state(database, job, "succeeded")
        assert not await rows(
            database,
            "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'LISTEN%' "
            "AND datname = current_database()",
        )


async def test_a_service_whose_jobs_run_elsewhere_runs_none(
    database: Database, worker: Any
) -> None:
    job = await enqueued(database, shop.note, number=1)
    async with worker(jobs_in_service=False) as idle:
        async with worker():
            await until_state(database, job, "succeeded")
        other = await enqueued(database, shop.note, number=2)
        await idle.check()
    assert await column(database, other) == "queued"


async def test_a_failing_job_is_tried_again_and_becomes_a_dead_letter(
    database: Database, worker: Any
) -> None:
    job = await enqueued(database, shop.fail)
    async with worker():
        await until_state(database, job, "failed")
    assert await effects(database) == []
    assert await column(database, job, "failures") == 3
    assert await column(database, job, "error") == "ValueError"
    problem = await column(database, job, "problem")
    assert problem["status"] == 500
    assert "secret" not in str(problem)


async def test_a_problem_of_the_request_is_not_tried_again(database: Database, worker: Any) -> None:
    job = await enqueued(database, shop.refuse)
    async with worker():
        await until_state(database, job, "failed")
    assert await column(database, job, "attempt") == 1
    problem = await column(database, job, "problem")
    assert (problem["status"], problem["detail"]) == (409, "The shop is closed.")


async def test_a_job_that_loses_its_connection_each_time_comes_to_an_end(
    database: Database, worker: Any
) -> None:
    job = await enqueued(database, shop.lose_connection)
    async with worker():
        await until_state(database, job, "failed")
    assert await column(database, job, "failures") == 2


async def test_an_attempt_has_a_time_limit(database: Database, worker: Any) -> None:
    job = await enqueued(database, shop.dawdle)
    async with worker():
        await until_state(database, job, "failed")
    assert await column(database, job, "error") == "TimeoutError"


async def test_a_delayed_job_waits(database: Database, worker: Any) -> None:
    later = await enqueued(database, shop.note.with_options(delay=timedelta(hours=1)), number=1)
    async with worker():
        now = await enqueued(database, shop.note, number=2)
        await until_state(database, now, "succeeded")
        assert await column(database, later) == "queued"
        await execute(database, "UPDATE jobs SET run_at = run_at - interval '1 hour'")
        await until_state(database, later, "succeeded")


async def test_greater_priority_goes_first(database: Database, worker: Any) -> None:
    for number, priority in enumerate([0, 5, -5, 5]):
        await enqueued(database, shop.note.with_options(priority=priority), number=number)
    async with worker(jobs_concurrency=1):

        async def done() -> bool:
            return len(await effects(database)) == 4

        await until(done)
    assert [number for number, _ in await effects(database)] == [1, 3, 0, 2]


async def test_no_more_than_the_limit_of_a_name_run_at_once_in_all_workers(
    database: Database, worker: Any
) -> None:
    for number in range(12):
        await enqueued(database, shop.queue_up, number=number)
    async with worker(), worker(), worker():

        async def done() -> bool:
            return not await rows(database, "SELECT 1 FROM jobs WHERE state <> 'succeeded'")

        await until(done)
    running = most = 0
    for change, _ in await effects(database):
        running += change
        most = max(most, running)
    assert (running, most) == (0, 2)


async def test_several_workers_run_each_job_once(database: Database, worker: Any) -> None:
    for number in range(60):
        await enqueued(database, shop.note, number=number)
    async with worker(), worker(), worker():

        async def done() -> bool:
            return len(await effects(database)) >= 60

        await until(done)
    assert sorted(number for number, _ in await effects(database)) == list(range(60))


async def test_the_job_of_a_worker_that_is_gone_is_begun_again(
    database: Database, worker: Any
) -> None:
    job = await enqueued(database, shop.note, number=1)
    await execute(
        database,
        "UPDATE jobs SET state = 'running', attempt = 1, leased_until = now() - interval '1 s'",
    )
    async with worker():
        await until_state(database, job, "succeeded")
    assert await column(database, job, "attempt") == 2
    assert await effects(database) == [(1, "noted")]


async def test_a_job_that_ends_its_workers_becomes_a_dead_letter(
    database: Database, worker: Any
) -> None:
    job = await enqueued(database, shop.note, number=1)
    await execute(
        database,
        "UPDATE jobs SET state = 'running', failures = 2, leased_until = now() - interval '1 s'",
    )
    async with worker():
        await until_state(database, job, "failed")
    assert await column(database, job, "error") == "WorkerLost"


async def test_a_worker_that_was_thought_dead_changes_nothing(
    database: Database, worker: Any
) -> None:
    job = await enqueued(database, shop.wait_for_end, seconds=0.3)
    async with worker(jobs_lease_seconds=60):
        await until_state(database, job, "running")
        await execute(database, "UPDATE jobs SET attempt = attempt + 1")
        await asyncio.sleep(0.6)
        assert await effects(database) == []
        assert await column(database, job) == "running"


async def test_an_attempt_that_others_have_by_now_is_broken_off(
    database: Database, worker: Any
) -> None:
    job = await enqueued(database, shop.wait_for_end)
    async with worker() as running:
        await until_state(database, job, "running")
        await execute(
            database, "UPDATE jobs SET attempt = 7, leased_until = now() + interval '1 hour'"
        )

        async def broken_off() -> bool:
            return not running._running

        await until(broken_off)
    assert await column(database, job) == "running"


async def test_a_lease_from_before_the_clock_was_set_back_ends(
    database: Database, worker: Any
) -> None:
    job = await enqueued(database, shop.note, number=1)
    await execute(
        database,
        "UPDATE jobs SET state = 'running', attempt = 1, leased_until = now() + interval '3 h'",
    )
    async with worker():
        await until_state(database, job, "succeeded")


async def test_a_long_job_keeps_its_lease(database: Database, worker: Any) -> None:
    job = await enqueued(database, shop.wait_for_end, seconds=2.0)
    async with worker(), worker():
        await until_state(database, job, "succeeded")
    assert await column(database, job, "attempt") == 1


async def test_progress_is_seen_while_the_job_runs(database: Database, worker: Any) -> None:
    job = await enqueued(database, shop.wait_for_end)
    async with worker():

        async def half() -> bool:
            return bool(await column(database, job, "progress") == 0.5)

        await until(half)


async def test_a_worker_that_stops_gives_back_what_it_has_not_ended(
    database: Database, worker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "STOP_SECONDS", 0.1)
    job = await enqueued(database, shop.wait_for_end)
    async with worker(jobs_lease_seconds=60):
        await until_state(database, job, "running")
    assert await column(database, job) == "queued"
    assert await column(database, job, "failures") == 0


async def test_a_worker_that_stops_lets_jobs_end(database: Database, worker: Any) -> None:
    job = await enqueued(database, shop.wait_for_end, seconds=0.5)
    async with worker():
        await until_state(database, job, "running")
    assert await column(database, job) == "succeeded"


async def test_a_worker_that_drains_begins_nothing(database: Database, worker: Any) -> None:
    async with worker() as draining:
        await draining.drain(1)
        job = await enqueued(database, shop.note, number=1)
        await asyncio.sleep(0.3)
    assert await column(database, job) == "queued"


async def test_what_is_claimed_while_the_drain_begins_is_run_or_given_back(
    database: Database, worker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    claimed, go_on = asyncio.Event(), asyncio.Event()
    claim = store.claim

    async def slow_claim(*arguments: Any) -> list[store.ClaimedJob]:
        found = await claim(*arguments)
        if found:
            claimed.set()
            await go_on.wait()
        return found

    monkeypatch.setattr(store, "claim", slow_claim)
    job = await enqueued(database, shop.note, number=1)
    async with worker(jobs_lease_seconds=60) as draining:
        await claimed.wait()
        end = asyncio.create_task(draining.drain(5))
        await asyncio.sleep(0.05)
        go_on.set()
        await end
        assert await column(database, job) == "succeeded"


async def test_a_job_nobody_knows_waits_and_is_reported(
    database: Database, worker: Any, without_schedules: Jobs
) -> None:
    job = await enqueued(database, shop.note, number=1)
    older = Jobs()
    older.by_name = {"fail": shop.fail}
    async with worker(older) as running:

        async def reported() -> bool:
            try:
                await running.check()
            except HealthCheckError as error:
                return error.reason == "jobs_unknown"
            return False

        await until(reported)
        assert await column(database, job) == "queued"
        async with worker():  # of the next release
            await until_state(database, job, "succeeded")

        async def healthy() -> bool:
            return not await reported()

        await until(healthy)


async def test_arguments_that_no_longer_fit_wait_as_a_dead_letter(
    database: Database, worker: Any
) -> None:
    job = await enqueued(database, shop.note, number=1)
    await execute(database, """UPDATE jobs SET arguments = '{"number": "a secret"}'""")
    async with worker():
        await until_state(database, job, "failed")
    error = await column(database, job, "error")
    assert error.startswith("The arguments of note are wrong: number:")
    assert "secret" not in error
    assert await column(database, job, "arguments") == {"number": "a secret"}


async def test_a_result_that_is_too_large_fails(database: Database, worker: Any) -> None:
    small = await enqueued(database, shop.talk, length=10)
    large = await enqueued(database, shop.talk, length=2_000)
    async with worker():
        await until_state(database, large, "failed")
        await until_state(database, small, "succeeded")
    assert await column(database, large, "error") == "JobTooLargeError"
    assert await column(database, large, "result") is None


async def test_while_postgresql_is_away_jobs_wait_and_health_says_so(
    own_postgres: LocalPostgres, tmp_path: Path, without_schedules: Jobs
) -> None:
    url = TestDatabases(own_postgres, tmp_path, "away").create("shop")
    settings = JobSettings(
        _env_file=None,
        environment="test",
        database_url=url,
        jobs_in_service=True,
        jobs_lease_seconds=60,
        jobs_poll_seconds=0.1,
    )
    database = Database(settings, migrations="shop.migrations")
    async with database.engine.begin() as connection:
        await connection.run_sync(shop.metadata.create_all)
    worker = JobWorker(settings, database, without_schedules)
    await worker.start()
    running = await enqueued(database, shop.wait_for_end, seconds=1.0)
    await until_state(database, running, "running")
    waiting = await enqueued(database, shop.note.with_options(delay=timedelta(seconds=1)), number=1)
    await asyncio.to_thread(own_postgres.kill)

    async def told() -> bool:
        try:
            await worker.check()
        except HealthCheckError as error:
            return error.reason == "jobs_failing"
        return False

    await until(told)
    await asyncio.sleep(1.0)  # the running job ends meanwhile, and cannot be recorded
    await asyncio.to_thread(own_postgres.start)
    await until_state(database, waiting, "succeeded")
    await until_state(database, running, "succeeded")
    assert await column(database, running, "failures") == 0

    async def healthy() -> bool:
        return not await told()

    await until(healthy)
    await worker.stop()
    await database.stop()


async def test_finished_jobs_are_deleted_after_their_time(database: Database, worker: Any) -> None:
    succeeded = await enqueued(database, shop.note, number=1)
    failed = await enqueued(database, shop.refuse)
    async with worker():
        await until_state(database, succeeded, "succeeded")
        await until_state(database, failed, "failed")
        await execute(database, "UPDATE jobs SET finished_at = finished_at - interval '25 h'")

        async def one_is_left() -> bool:
            return [str(each) for each in await rows(database, "SELECT id FROM jobs")] == [failed]

        await until(one_is_left)
        await execute(database, "UPDATE jobs SET finished_at = finished_at - interval '30 d'")

        async def none_is_left() -> bool:
            return not await rows(database, "SELECT id FROM jobs")

        await until(none_is_left)
