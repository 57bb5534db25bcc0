"""Runs one attempt of a job, and records how it ended.

The record that it succeeded is the last statement of the job's own transaction, and changes nothing
where the attempt is no longer the current one: then all of the transaction is rolled back.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from service_platform.database import Database
from service_platform.errors import InternalError, Problem, ServiceUnavailable
from service_platform.errors.database import database_problem, is_retryable
from service_platform.jobs import metrics, store
from service_platform.jobs.context import JobContext, Origin, as_work_of
from service_platform.jobs.job import Job
from service_platform.jobs.settings import JobSettings
from service_platform.jobs.signature import JobArgumentsError, JobTooLargeError
from service_platform.jobs.store import ClaimedJob
from service_platform.logging import current_ids, get_logger
from service_platform.resources import Resource
from service_platform.telemetry.job_spans import job_span

T = TypeVar("T")

OUTAGE_RETRY_SECONDS: Final = 0.5

log = get_logger("service_platform.jobs")


class AttemptLostError(Exception):
    """Another worker has the job by now; nothing that this attempt wrote may be committed."""


class Attempts:
    """Runs attempts in one process.

    Args:
        settings: of the service.
        database: of the service.
        resources: what jobs may ask their context for.
    """

    def __init__(
        self, settings: JobSettings, database: Database, resources: Sequence[Resource]
    ) -> None:
        self._settings = settings
        self._database = database
        self._resources = resources

    async def run(self, job: Job[..., Any], claimed: ClaimedJob) -> None:
        """Run an attempt to its end; when it is cancelled the caller gives the job back."""
        origin = Origin.of_json(claimed.account, claimed.origin)
        metrics.delay_seconds.labels(job.name).observe(max(claimed.delay, 0.0))
        async with self._database.session() as session:
            context = JobContext(
                id=claimed.id,
                attempt=claimed.attempt,
                session=session,
                database=self._database,
                origin=origin,
                tick=claimed.tick,
                resources=self._resources,
            )
            with (
                as_work_of(context, self._settings, job.timeout_seconds),
                structlog.contextvars.bound_contextvars(job=job.name, job_id=str(claimed.id)),
            ):
                started = time.perf_counter()
                outcome = await self._outcome(job, claimed, context)
                metrics.duration_seconds.labels(job.name).observe(time.perf_counter() - started)
                if outcome != "lost":  # whoever took it has counted that
                    metrics.attempts.labels(job.name, outcome).inc()

    async def _outcome(self, job: Job[..., Any], claimed: ClaimedJob, context: JobContext) -> str:
        """Run the function and record what came of it."""
        try:
            with job_span(
                job.name,
                str(claimed.id),
                attempt=claimed.attempt,
                traceparent=context.origin.traceparent,
                tracestate=context.origin.tracestate,
            ):
                await self._in_transaction(job, claimed, context)
        except AttemptLostError:
            log.warning("job_lost", attempt=claimed.attempt)
            return "lost"
        except Exception as error:  # noqa: BLE001 - a job may raise anything
            await context.session.close()
            return await self._failed(job, claimed, error)
        return "succeeded"

    async def _in_transaction(
        self, job: Job[..., Any], claimed: ClaimedJob, context: JobContext
    ) -> None:
        arguments = job.signature.decode(claimed.arguments)
        async with asyncio.timeout(job.timeout_seconds):
            result = await job.function(context, **arguments)
        encoded = job.signature.encode_result(result)
        session = context.session
        await session.flush()
        if not await store.succeed(session, claimed.id, claimed.attempt, encoded):
            raise AttemptLostError
        await session.commit()

    async def _failed(self, job: Job[..., Any], claimed: ClaimedJob, error: Exception) -> str:
        """Record a failure, or give the job back where the database was away."""
        if isinstance(error, SQLAlchemyError) and await self._is_outage(error):
            log.warning("job_given_back", error=type(error).__name__)
            await self._when_available(self._give_back, claimed)
            return "given_back"
        problem = _problem_of(error)
        final = problem.status < InternalError.status
        kind = str(error) if isinstance(error, JobArgumentsError) else type(error).__name__

        async def fail(session: AsyncSession, claimed: ClaimedJob) -> str | None:
            return await store.fail(
                session,
                claimed.id,
                claimed.attempt,
                error=kind,
                problem=self._encoded(problem),
                attempts=0 if final else job.attempts,
                retry_seconds=job.retry_seconds,
            )

        state = await self._when_available(fail, claimed)
        if state is None:
            log.warning("job_lost", attempt=claimed.attempt)
            return "lost"
        if state == "failed":
            log.error("job_given_up", failures=claimed.failures + 1, exc_info=error)
        else:
            log.warning("job_failed", failures=claimed.failures + 1, exc_info=error)
        return "failed"

    async def _is_outage(self, error: SQLAlchemyError) -> bool:
        """Return whether the database is the cause of a failure, rather than the job.

        A connection may also be lost because the job left its transaction idle for too long.
        """
        if not isinstance(database_problem(error), ServiceUnavailable):
            return False
        if is_retryable(error):
            return True
        try:
            await self._database.run(store.probe, attempts=1)
        except (SQLAlchemyError, OSError):
            return True
        return False

    async def _give_back(self, session: AsyncSession, claimed: ClaimedJob) -> None:
        await store.give_back(session, [(claimed.id, claimed.attempt)], OUTAGE_RETRY_SECONDS)

    async def _when_available(
        self, work: Callable[[AsyncSession, ClaimedJob], Awaitable[T]], claimed: ClaimedJob
    ) -> T:
        """Do the work in a transaction of its own, waiting while the database is away."""
        while True:
            try:
                return await self._database.run(lambda session: work(session, claimed))
            except (SQLAlchemyError, OSError) as error:
                if isinstance(error, SQLAlchemyError) and database_problem(error) is None:
                    raise
            await asyncio.sleep(OUTAGE_RETRY_SECONDS)

    def _encoded(self, problem: Problem) -> bytes:
        ids = current_ids()
        return problem.body(
            base_url=self._settings.problem_type_base_url,
            request_id=ids["request_id"],
            trace_id=ids.get("trace_id"),
        )


def _problem_of(error: Exception) -> Problem:
    """Return what a client may know of a failure: the job's own problem, or that there was one."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, JobTooLargeError):
        return InternalError("The result is too large.")
    return InternalError()


__all__ = ["Attempts"]
