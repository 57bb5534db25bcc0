"""Schedules: enqueues jobs at the ticks of their cron, once however many workers there are.

The next tick of each schedule is a row. Whoever finds it due locks it, enqueues the job and moves
it on in one transaction, by the clock of the database.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from service_platform.jobs.cron import Missed, due_ticks, next_tick
from service_platform.jobs.job import Job
from service_platform.jobs.queue import insert_job
from service_platform.logging import get_logger

UNIQUE_KEY: Final = "schedule"
"""A run that has not ended absorbs the ticks that come meanwhile."""

_NOW: Final = text("SELECT clock_timestamp()")
_REGISTER: Final = text(
    """
    INSERT INTO job_schedules (name, cron, next_at) VALUES (:name, :cron, :next_at)
    ON CONFLICT (name) DO UPDATE SET cron = excluded.cron, next_at = excluded.next_at
        WHERE job_schedules.cron <> excluded.cron
    """
)
_DUE: Final = text(
    """
    SELECT name, next_at, clock_timestamp() AS now FROM job_schedules
    WHERE name = ANY (:names) AND next_at <= clock_timestamp()
    ORDER BY name FOR UPDATE SKIP LOCKED
    """
)
_ALL: Final = text(
    "SELECT name, next_at, clock_timestamp() AS now FROM job_schedules WHERE name = ANY (:names)"
)
_MOVE: Final = text(
    "UPDATE job_schedules SET next_at = :next_at WHERE name = :name AND next_at = :expected"
)

log = get_logger("service_platform.jobs")


class Schedules:
    """The schedules of a service.

    Args:
        jobs: that have a cron.
    """

    def __init__(self, jobs: Sequence[Job[Any, Any]]) -> None:
        self._jobs = {each.name: (each, each.cron) for each in jobs if each.cron is not None}

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._jobs)

    async def register(self, session: AsyncSession) -> None:
        """Write the next tick of each schedule that is new or has another cron than before."""
        now: datetime = await session.scalar(_NOW)
        for name, (_, cron) in sorted(self._jobs.items()):
            parameters = {"name": name, "cron": cron, "next_at": next_tick(cron, now)}
            await session.execute(_REGISTER, parameters)

    async def tick(self, session: AsyncSession) -> None:
        """Enqueue the jobs whose tick has come."""
        due = (await session.execute(_DUE, {"names": list(self._jobs)})).all()
        for row in due:
            job, cron = self._jobs[row.name]
            for tick in due_ticks(cron, job.missed, row.next_at, row.now):
                unique_key = tick.isoformat() if job.missed is Missed.ALL else UNIQUE_KEY
                once = job.with_options(unique_key=unique_key)
                await insert_job(session, once, job.signature.encode((), {}), tick=tick)
            await self._move(session, row.name, row.next_at, next_tick(cron, row.now))

    async def repair(self, session: AsyncSession) -> None:
        """Move ticks back that were written before the database's clock was set back.

        A schedule that waits for the tick after the next one would be silent until the time of
        the wrong clock comes again.
        """
        for row in (await session.execute(_ALL, {"names": list(self._jobs)})).all():
            _, cron = self._jobs[row.name]
            expected = next_tick(cron, row.now)
            if row.next_at > next_tick(cron, expected):
                log.warning("schedule_clock_set_back", job=row.name)
                await self._move(session, row.name, row.next_at, expected)

    async def _move(
        self, session: AsyncSession, name: str, expected: datetime, next_at: datetime
    ) -> None:
        await session.execute(_MOVE, {"name": name, "expected": expected, "next_at": next_at})


__all__ = ["Schedules"]
