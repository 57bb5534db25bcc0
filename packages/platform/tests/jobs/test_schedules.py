"""Schedules: once a tick however many workers there are, and what is done about missed ticks."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from shop import jobs as shop
from shop.watching import rows, until
from sqlalchemy import text

from service_platform.database import Database
from service_platform.jobs import JobContext, JobDefinitionError, Jobs, Missed
from service_platform.jobs.cron import due_ticks, next_tick
from service_platform.jobs.schedules import Schedules

NOON = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
HOURLY = "0 * * * *"


def jobs_with(cron: str, missed: Missed = Missed.ONCE) -> Jobs:
    jobs = Jobs()

    @jobs.job(cron=cron, missed=missed)
    async def clean(context: JobContext) -> None:
        assert context.tick is not None
        await shop.write(context.session, round(context.tick.timestamp()), "clean")

    return jobs


async def next_at(database: Database) -> datetime:
    [found] = await rows(database, "SELECT next_at FROM job_schedules")
    assert isinstance(found, datetime)
    return found


async def set_next_at(database: Database, value: str) -> None:
    async with database.engine.begin() as connection:
        await connection.execute(text(f"UPDATE job_schedules SET next_at = {value}"))


async def test_three_workers_run_a_schedule_once_a_tick(database: Database, worker: Any) -> None:
    jobs = Jobs()
    jobs.by_name = {"tick": shop.tick}  # each second
    async with worker(jobs), worker(jobs), worker(jobs):

        async def several() -> bool:
            return len(await rows(database, "SELECT number FROM effects")) >= 4

        await until(several)
    ticks = await rows(database, "SELECT number FROM effects ORDER BY n")
    assert len(set(ticks)) == len(ticks)
    assert ticks == sorted(ticks)


@pytest.mark.parametrize(
    ("missed", "late", "expected"),
    [
        (Missed.ONCE, timedelta(hours=3), [12]),
        (Missed.SKIP, timedelta(hours=3), []),
        (Missed.ALL, timedelta(hours=3), [9, 10, 11, 12]),
        (Missed.ONCE, timedelta(0), [12]),
        (Missed.SKIP, timedelta(0), [12]),
        (Missed.ALL, timedelta(0), [12]),
    ],
)
def test_missed_ticks(missed: Missed, late: timedelta, expected: list[int]) -> None:
    seconds_late = timedelta(minutes=5) if late else timedelta(seconds=5)
    ticks = due_ticks(HOURLY, missed, NOON - late, NOON + seconds_late)
    assert [tick.hour for tick in ticks] == expected


def test_a_tick_is_due_at_its_very_time() -> None:
    assert due_ticks(HOURLY, Missed.ONCE, NOON, NOON) == [NOON]
    assert next_tick(HOURLY, NOON) == NOON + timedelta(hours=1)


def test_ever_so_many_missed_ticks_are_bounded() -> None:
    ticks = due_ticks("* * * * *", Missed.ALL, NOON - timedelta(days=7), NOON)
    assert len(ticks) == 1_000
    assert ticks[-1] == NOON


async def test_after_an_absence_the_job_is_run_for_each_missed_tick_where_told(
    database: Database, worker: Any
) -> None:
    jobs = jobs_with("* * * * *", Missed.ALL)
    await database.run(Schedules(list(jobs.by_name.values())).register)
    await set_next_at(database, "date_trunc('minute', now()) - interval '2 minutes'")
    async with worker(jobs):

        async def three() -> bool:
            return len(await rows(database, "SELECT number FROM effects")) >= 3

        await until(three)
    ticks = await rows(database, "SELECT number FROM effects ORDER BY number")
    assert [ticks[1] - ticks[0], ticks[2] - ticks[1]] == [60, 60]


async def test_a_run_that_has_not_ended_absorbs_the_next_tick(database: Database) -> None:
    schedules = Schedules(list(jobs_with(HOURLY).by_name.values()))
    await database.run(schedules.register)
    for _ in range(2):
        await set_next_at(database, "date_trunc('hour', now())")
        await database.run(schedules.tick)
    assert len(await rows(database, "SELECT id FROM jobs")) == 1


async def test_another_cron_counts_from_the_next_start_on(database: Database) -> None:
    await database.run(Schedules(list(jobs_with(HOURLY).by_name.values())).register)
    before = await next_at(database)
    await database.run(Schedules(list(jobs_with(HOURLY).by_name.values())).register)
    assert await next_at(database) == before
    await database.run(Schedules(list(jobs_with("0 0 1 1 *").by_name.values())).register)
    assert (await next_at(database)).month == 1


async def test_a_clock_that_was_set_back_does_not_silence_a_schedule(
    database: Database, worker: Any
) -> None:
    jobs = jobs_with("* * * * * *")
    schedules = Schedules(list(jobs.by_name.values()))
    await database.run(schedules.register)
    await set_next_at(database, "now() + interval '1 year'")  # by a clock that was a year ahead
    async with worker(jobs):

        async def goes_on() -> bool:
            return bool(await rows(database, "SELECT 1 FROM effects"))

        await until(goes_on)


async def test_a_clock_that_jumps_ahead_runs_a_schedule_once(
    database: Database, worker: Any
) -> None:
    schedules = Schedules(list(jobs_with(HOURLY).by_name.values()))
    await database.run(schedules.register)
    await set_next_at(database, "date_trunc('hour', now()) - interval '30 days'")
    await asyncio.gather(*(database.run(schedules.tick) for _ in range(3)))
    assert len(await rows(database, "SELECT id FROM jobs")) == 1
    assert await next_at(database) > datetime.now(UTC)


@pytest.mark.parametrize("cron", ["", "every day", "61 * * * *", "0 0 30 2 *"])
def test_a_cron_that_is_none_is_refused_at_the_start(cron: str) -> None:
    with pytest.raises(JobDefinitionError, match=r"^The cron of clean is wrong"):
        jobs_with(cron)


def test_a_job_with_a_schedule_needs_defaults() -> None:
    jobs = Jobs()
    with pytest.raises(JobDefinitionError, match=r"^clean has a schedule, so days needs a default"):

        @jobs.job(cron=HOURLY)
        async def clean(context: JobContext, days: int) -> None: ...
