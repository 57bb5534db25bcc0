"""The worker: claims jobs from the service's database and runs them; a resource of the service.

Every process of a service has one. It runs jobs in the processes of `python -m
service_platform.worker`, and in the service itself where `JOBS_IN_SERVICE` says so; elsewhere it
only measures the queue. A job whose worker died is begun again when its lease has ended.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from functools import partial
from typing import Final
from uuid import UUID

from prometheus_client import Gauge
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from service_platform.background import TaskSupervisor
from service_platform.cancellation import cancel_and_wait
from service_platform.database import Database
from service_platform.database.notifications import listen
from service_platform.jobs import metrics, store
from service_platform.jobs.attempt import Attempts
from service_platform.jobs.job import ATTEMPTS, Jobs
from service_platform.jobs.schedules import Schedules
from service_platform.jobs.settings import JobSettings
from service_platform.jobs.store import ClaimedJob, JobCount
from service_platform.logging import get_logger
from service_platform.resources import HealthCheckError, Resource

DELETE_BATCH: Final = 1_000
METRICS_SECONDS: Final = 5.0
CLEANUP_SECONDS: Final = 30.0
SCHEDULE_SECONDS: Final = 1.0
STOP_SECONDS: Final = 3.0
"""For running jobs when the service stops; the resource as a whole has five seconds."""
GIVE_BACK_SECONDS: Final = 1.0
GATHER_SECONDS: Final = 0.005

GAUGES: Final = (
    metrics.queued,
    metrics.oldest_seconds,
    metrics.delayed,
    metrics.running,
    metrics.dead_letters,
)

log = get_logger("service_platform.jobs")


class JobWorker:
    """Runs a service's jobs in the background; a resource.

    Args:
        settings: concurrency, lease, times.
        database: of the service, with the tables of jobs; must start before and stop after this.
        jobs: of the service.
        resources: what jobs may ask their context for, such as a client of another service; they
            must start before and stop after this.
    """

    name = "jobs"
    critical = False

    def __init__(
        self,
        settings: JobSettings,
        database: Database,
        jobs: Jobs,
        resources: Sequence[Resource] = (),
    ) -> None:
        self._settings = settings
        self.database = database
        self.jobs = jobs
        self.runs_jobs = settings.jobs_in_service
        self._autocommit = async_sessionmaker(
            database.engine.execution_options(isolation_level="AUTOCOMMIT")
        )
        self._attempts = Attempts(settings, database, resources)
        scheduled = [each for each in jobs.by_name.values() if each.cron is not None]
        self._schedules = Schedules(scheduled)
        self._has_registered = False
        self._limited = {
            each.name: each.concurrency
            for each in jobs.by_name.values()
            if each.concurrency is not None
        }
        self._unlimited = [each for each in jobs.by_name if each not in self._limited]
        self._running: dict[asyncio.Task[None], ClaimedJob] = {}
        self._wake = asyncio.Event()
        self._claiming = asyncio.Lock()
        self._is_draining = False
        self._unknown: set[str] = set()
        # At first all of them, so that a name without jobs has gauges of 0.
        self._measured = {(gauge, name) for gauge in GAUGES for name in jobs.by_name}
        self._tasks = TaskSupervisor("jobs")

    async def start(self) -> None:
        """Start to measure the queue, and to run jobs where this process does."""
        self._tasks.every(METRICS_SECONDS, self._update_metrics)
        if not self.runs_jobs:
            return
        self._tasks.run(self._work)
        self._tasks.every(self._settings.jobs_lease_seconds / 3, self._renew_leases, traced=False)
        self._tasks.every(min(self._settings.jobs_lease_seconds / 2, 5.0), self._reap)
        self._tasks.every(CLEANUP_SECONDS, self._clean_up)
        if self._schedules:
            self._tasks.every(SCHEDULE_SECONDS, self._tick)
        if self._settings.database_pooler == "none":  # a pooler's sessions cannot LISTEN
            self._tasks.run(self._listen)

    async def drain(self, seconds: float) -> None:
        """Begin no further job, give running ones time, and put those back that take longer.

        Args:
            seconds: for the running jobs.
        """
        self._is_draining = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds), self._claiming:
                pass  # what is being claimed in this moment is running then
        if self._running:
            await asyncio.wait(list(self._running), timeout=seconds)
        unfinished = [(each.id, each.attempt) for each in self._running.values()]
        await cancel_and_wait(*self._running)
        if not unfinished:
            return
        log.info("jobs_given_back", jobs=len(unfinished))
        try:
            async with asyncio.timeout(GIVE_BACK_SECONDS):
                await self.database.run(lambda session: store.give_back(session, unfinished))
        except (SQLAlchemyError, OSError) as error:  # then their leases end
            log.warning("jobs_not_given_back", error=type(error).__name__)

    async def stop(self) -> None:
        """Stop; jobs that have not ended by then are begun again by another worker."""
        try:
            await self.drain(STOP_SECONDS)
        finally:
            await self._tasks.stop()

    async def check(self) -> None:
        """Raise `HealthCheckError` while jobs cannot be claimed, or wait that are not known.

        Raises:
            HealthCheckError: `jobs_failing` or `jobs_unknown`. Jobs wait; none is lost.
        """
        self._tasks.check()
        if self._unknown:
            raise HealthCheckError("jobs_unknown")

    async def _work(self) -> None:
        """Claim jobs whenever there is room for some, and run them."""
        while True:
            self._wake.clear()
            if self._is_draining:
                await self._wake.wait()
                continue
            free = self._settings.jobs_concurrency - len(self._running)
            async with self._claiming:
                claimed = await self._claim(free)
                for each in claimed:
                    self._begin(each)
            if len(claimed) < free:
                await self._wait(self._settings.jobs_poll_seconds)
            else:
                await self._until_room()

    async def _until_room(self) -> None:
        """Wait until another job can begin, and a moment longer for several to be claimed at once.

        Short jobs end one after the other: a statement for each would cost as much as they do.
        """
        while len(self._running) >= self._settings.jobs_concurrency and not self._is_draining:
            await self._wake.wait()
            self._wake.clear()
        if len(self._running) > self._settings.jobs_concurrency / 2:
            await asyncio.sleep(GATHER_SECONDS)

    async def _wait(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()

    async def _claim(self, limit: int) -> list[ClaimedJob]:
        lease = self._settings.jobs_lease_seconds
        claimed: list[ClaimedJob] = []
        for name, concurrency in self._limited.items():
            room = limit - len(claimed)
            if room:
                claim = partial(
                    store.claim_limited,
                    name=name,
                    concurrency=concurrency,
                    limit=room,
                    lease=lease,
                )
                claimed += await self.database.run(claim)
        room = limit - len(claimed)
        if room and self._unlimited:
            async with self._autocommit() as session:  # one round trip instead of three
                claimed += await store.claim(session, self._unlimited, room, lease)
        return claimed

    def _begin(self, claimed: ClaimedJob) -> None:
        attempt = self._attempts.run(self.jobs.by_name[claimed.name], claimed)
        task = asyncio.create_task(attempt, name=f"job:{claimed.name}")
        self._running[task] = claimed
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        claimed = self._running.pop(task)
        self._wake.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("job_not_recorded", job=claimed.name, exc_info=error)

    async def _listen(self) -> None:
        """Listen for notifications of enqueued jobs."""
        await listen(
            self._settings,
            store.NOTIFY_CHANNEL,
            self._wake.set,
            reconnect_seconds=self._settings.jobs_poll_seconds,
        )

    async def _renew_leases(self) -> None:
        """Renew the leases of running jobs, and break those off that others have by now."""
        running = dict(self._running)
        if not running:
            return
        attempts = [(each.id, each.attempt) for each in running.values()]
        lease = self._settings.jobs_lease_seconds
        kept: set[UUID] = await self.database.run(
            lambda session: store.renew(session, attempts, lease)
        )
        for task, claimed in running.items():
            if claimed.id not in kept and not task.done():
                log.warning("job_lost", job=claimed.name, job_id=str(claimed.id))
                task.cancel()

    async def _reap(self) -> None:
        """Take the jobs of workers that are gone."""
        limits = {name: each.attempts for name, each in self.jobs.by_name.items()}
        for job_id, name, state in await self.database.run(
            lambda session: store.reap(session, limits, ATTEMPTS)
        ):
            log.warning("job_worker_gone", job=name, job_id=str(job_id), state=state)
            metrics.attempts.labels(name, "lost").inc()
            self._wake.set()

    async def _tick(self) -> None:
        """Enqueue what the schedules want."""
        if not self._has_registered:
            await self.database.run(self._schedules.register)
            self._has_registered = True
        await self.database.run(self._schedules.tick)

    async def _update_metrics(self) -> None:
        """Set the gauges of the queue."""
        counts = await self.database.run(store.count)
        now: set[tuple[Gauge, str]] = set()
        for each in counts:
            for gauge, value in _gauges(each):
                gauge.labels(each.name).set(value)
                now.add((gauge, each.name))
        for gauge, name in self._measured - now:
            gauge.labels(name).set(0)
        self._measured = now
        self._tell_unknown(counts)

    def _tell_unknown(self, counts: Sequence[JobCount]) -> None:
        unknown = {
            each.name
            for each in counts
            if each.status == "queued" and each.name not in self.jobs.by_name
        }
        for name in sorted(unknown - self._unknown):
            log.warning("job_unknown", job=name)
        self._unknown = unknown

    async def _clean_up(self) -> None:
        """Delete jobs that ended long ago, and repair the schedules."""
        kept = {
            "succeeded": self._settings.jobs_retention_hours * 3_600,
            "failed": self._settings.jobs_dead_letter_days * 86_400,
        }
        for state, seconds in kept.items():

            async def delete(
                session: AsyncSession, state: str = state, seconds: float = seconds
            ) -> int:
                return await store.delete_finished(session, state, seconds, DELETE_BATCH)

            while await self.database.run(delete) == DELETE_BATCH:
                pass
        if self._schedules and self._has_registered:
            await self.database.run(self._schedules.repair)


def _gauges(count: JobCount) -> list[tuple[Gauge, float]]:
    """Return the gauges that a count sets."""
    if count.status == "queued":
        return [(metrics.queued, count.number), (metrics.oldest_seconds, count.oldest)]
    gauge = {"delayed": metrics.delayed, "running": metrics.running, "failed": metrics.dead_letters}
    return [(gauge[count.status], count.number)]


__all__ = ["JobWorker"]
