"""Enqueues jobs in the transaction of the change they belong to.

await enqueue(session, send_welcome, account_id=account.id)
await enqueue(session, remind.with_options(delay=timedelta(days=3)), account_id=account.id)
"""

from datetime import datetime
from typing import Any, ParamSpec
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from service_platform.ids import new_id
from service_platform.jobs import store
from service_platform.jobs.context import Origin
from service_platform.jobs.job import Job
from service_platform.telemetry.job_spans import enqueue_span

P = ParamSpec("P")


async def enqueue(
    session: AsyncSession, job: Job[P, Any], *args: P.args, **kwargs: P.kwargs
) -> UUID:
    """Enqueue a job: it is run if, and only if, the transaction commits.

    Request id, trace, account and locale of the request that this code runs for travel with it.

    Args:
        session: of the transaction.
        job: of the service.
        args: of its function, behind the context.
        kwargs: of its function.

    Returns:
        The job's id; with a unique key that of the unfinished job that has it already.

    Raises:
        JobArgumentsError: the arguments do not fit the function.
        JobTooLargeError: they have more bytes than the job may have.
    """
    await session.flush()
    return await insert_job(session, job, job.signature.encode(args, kwargs))


async def insert_job(
    session: AsyncSession, job: Job[..., Any], arguments: bytes, *, tick: datetime | None = None
) -> UUID:
    """Write a job whose arguments are encoded; `tick` is that of its schedule."""
    with enqueue_span(job.name):
        origin = Origin() if tick is not None else Origin.of_current_work()
        return await store.insert(
            session,
            job_id=new_id(),
            name=job.name,
            arguments=arguments,
            priority=job.priority,
            delay=job.delay.total_seconds(),
            unique_key=job.unique_key,
            account=origin.account,
            origin=origin.as_json(),
            tick=tick,
        )


__all__ = ["enqueue", "insert_job"]
