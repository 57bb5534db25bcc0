"""Jobs as operators see them: lists, and what can be done about those that failed for good."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from service_platform.jobs.store import NOTIFY_CHANNEL

STATES: Final = ("queued", "running", "failed", "succeeded")

_LIST: Final = text(
    """
    SELECT id, name, state, attempt, failures, error, created_at, run_at, finished_at,
           extract(epoch FROM clock_timestamp() - coalesce(finished_at, started_at, created_at)
           )::float8 AS age
    FROM jobs
    WHERE state = :state AND (CAST(:name AS text) IS NULL OR name = :name)
    ORDER BY created_at, id LIMIT :limit
    """
)
# A job whose key another one has by now stays where it is.
_RETRY: Final = text(
    """
    UPDATE jobs SET
        state = 'queued', failures = 0, problem = NULL, progress = NULL, finished_at = NULL,
        run_at = clock_timestamp()
    WHERE state = 'failed'
      AND (CAST(:ids AS uuid[]) IS NULL OR id = ANY (:ids))
      AND (CAST(:name AS text) IS NULL OR name = :name)
      AND NOT EXISTS (
          SELECT FROM jobs AS other
          WHERE other.name = jobs.name AND other.unique_key = jobs.unique_key
            AND other.id <> jobs.id
            AND (other.state IN ('queued', 'running')
                 OR (other.state = 'failed' AND other.id > jobs.id))
      )
    RETURNING id, pg_notify(:channel, '')
    """
)
_DROP: Final = text(
    """
    DELETE FROM jobs
    WHERE state = 'failed'
      AND (CAST(:ids AS uuid[]) IS NULL OR id = ANY (:ids))
      AND (CAST(:name AS text) IS NULL OR name = :name)
    RETURNING id
    """
)


class ListedJob(NamedTuple):
    """A job in a list, without arguments and results, which may be anybody's data.

    Attributes:
        id: of the job.
        name: of the job.
        state: `queued`, `running`, `failed` or `succeeded`.
        attempt: how often it was begun.
        failures: how many attempts failed.
        error: kind of the last failure.
        created_at: when it was enqueued.
        run_at: when it may begin.
        finished_at: when it succeeded, or failed for good.
        age: seconds since it was enqueued, begun or finished, whichever was last.
    """

    id: UUID
    name: str
    state: str
    attempt: int
    failures: int
    error: str | None
    created_at: datetime
    run_at: datetime
    finished_at: datetime | None
    age: float


async def list_jobs(
    session: AsyncSession, state: str, *, name: str | None = None, limit: int
) -> list[ListedJob]:
    """List jobs of a state, oldest first."""
    parameters = {"state": state, "name": name, "limit": limit}
    return [ListedJob(*row) for row in await session.execute(_LIST, parameters)]


async def retry_jobs(
    session: AsyncSession, ids: Sequence[UUID] | None = None, *, name: str | None = None
) -> int:
    """Enqueue dead letters again, all of them or those with these ids or this name.

    Returns:
        How many; those whose unique key an unfinished job has are left.
    """
    return await _change(session, _RETRY, ids, name, channel=NOTIFY_CHANNEL)


async def drop_jobs(
    session: AsyncSession, ids: Sequence[UUID] | None = None, *, name: str | None = None
) -> int:
    """Delete dead letters, all of them or those with these ids or this name; return how many."""
    return await _change(session, _DROP, ids, name)


async def _change(
    session: AsyncSession,
    statement: Any,
    ids: Sequence[UUID] | None,
    name: str | None,
    **parameters: Any,
) -> int:
    chosen = {"ids": None if ids is None else list(ids), "name": name}
    return len((await session.execute(statement, {**chosen, **parameters})).all())


__all__ = ["STATES", "ListedJob", "drop_jobs", "list_jobs", "retry_jobs"]
