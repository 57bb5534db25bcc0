"""What operators can do about jobs that failed."""

from typing import Any

from shop import jobs as shop
from shop.job_watching import column, enqueued, until_state

from service_platform.database import Database
from service_platform.jobs.dead_letters import drop_jobs, list_jobs, retry_jobs


async def test_a_job_whose_key_another_has_by_now_is_left(database: Database, worker: Any) -> None:
    keyed = shop.refuse.with_options(unique_key="one")
    first = await enqueued(database, keyed)
    async with worker():
        await until_state(database, first, "failed")
        second = await enqueued(database, keyed)
        await until_state(database, second, "failed")
    assert await database.run(retry_jobs) == 1
    assert await column(database, first) == "failed"
    assert await column(database, second) == "queued"
    assert await database.run(retry_jobs) == 0


async def test_a_retried_job_has_all_its_attempts_again(database: Database, worker: Any) -> None:
    job = await enqueued(database, shop.fail)
    async with worker():
        await until_state(database, job, "failed")
        await database.run(retry_jobs)
        await until_state(database, job, "failed")
    assert await column(database, job, "failures") == 3
    assert await column(database, job, "attempt") == 6


async def test_what_has_not_failed_is_neither_retried_nor_dropped(database: Database) -> None:
    job = await enqueued(database, shop.note, number=1)
    assert await database.run(retry_jobs) == 0
    assert await database.run(drop_jobs) == 0
    assert await column(database, job) == "queued"


async def test_lists_are_by_state_and_name_and_bounded(database: Database) -> None:
    jobs = [await enqueued(database, shop.note, number=number) for number in range(3)]
    await enqueued(database, shop.fail)
    listed = await database.run(lambda session: list_jobs(session, "queued", name="note", limit=2))
    assert [str(each.id) for each in listed] == jobs[:2]
    assert not await database.run(lambda session: list_jobs(session, "failed", limit=2))
