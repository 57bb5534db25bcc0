"""The statements on the tables of jobs, each in the caller's session.

Every time in them is the database's clock, so that clocks of workers do not matter. Whoever ends an
attempt names it (`id` and `attempt`): a worker that was thought dead changes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

NOTIFY_CHANNEL: Final = "jobs"
"""PostgreSQL notifies this channel at the commit of a transaction that enqueued."""

LOCK_NAMESPACE: Final = 0x6A6F6273
"""First half of the advisory locks under which jobs of a limited concurrency are claimed."""

LONGEST_RETRY_SECONDS: Final = 3_600
LONGEST_LEASE_SECONDS: Final = 3_660
"""A lease that ends later was given before the database's clock was set back."""
REAPED_AT_ONCE: Final = 100
MAX_COUNTED: Final = 10_000
"""The jobs of each state are counted up to here, so that counting stays cheap."""

_INSERT: Final = text(
    """
    INSERT INTO jobs (id, name, priority, arguments, unique_key, account, origin, tick, run_at)
    VALUES (
        :id, :name, :priority, CAST(:arguments AS jsonb), :unique_key, :account,
        CAST(:origin AS jsonb), :tick, clock_timestamp() + make_interval(secs => :delay)
    )
    ON CONFLICT (name, unique_key)
        WHERE unique_key IS NOT NULL AND state IN ('queued', 'running') DO NOTHING
    RETURNING CASE WHEN CAST(:delay AS float8) <= 0 THEN pg_notify(:channel, '') END
    """
)
_UNFINISHED: Final = text(
    """
    SELECT id FROM jobs
    WHERE name = :name AND unique_key = :unique_key AND state IN ('queued', 'running')
    """
)
# Of each priority, greatest first, the jobs whose time has come are the beginning of a range of the
# index: however many wait for later, none of them is looked at.
_PRIORITIES: Final = """
    WITH RECURSIVE priorities AS (
        (SELECT priority FROM jobs WHERE state = 'queued' ORDER BY priority DESC LIMIT 1)
        UNION ALL
        SELECT (SELECT priority FROM jobs
                WHERE state = 'queued' AND priority < greater.priority
                ORDER BY priority DESC LIMIT 1)
        FROM priorities AS greater WHERE greater.priority IS NOT NULL
    )
"""
_CLAIM: Final = text(
    f"""
    {_PRIORITIES}, due AS MATERIALIZED (
        SELECT due_of_priority.id FROM priorities CROSS JOIN LATERAL (
            SELECT id FROM jobs
            WHERE state = 'queued' AND priority = priorities.priority AND run_at <= now()
              AND name = ANY (:names)
            ORDER BY run_at, id LIMIT :limit FOR UPDATE SKIP LOCKED
        ) AS due_of_priority
        LIMIT :limit
    )
    UPDATE jobs SET
        state = 'running', attempt = attempt + 1, started_at = clock_timestamp(),
        leased_until = clock_timestamp() + make_interval(secs => :lease)
    FROM due WHERE jobs.id = due.id
    RETURNING jobs.id, name, arguments::text AS arguments, attempt, failures, account, origin,
              tick, extract(epoch FROM clock_timestamp() - run_at)::float8 AS delay
    """  # noqa: S608 - our own text
)
_LOCK_NAME: Final = text("SELECT pg_try_advisory_xact_lock(:space, hashtext(:name))")
_RUNNING_OF_NAME: Final = text("SELECT count(*) FROM jobs WHERE state = 'running' AND name = :name")
_SUCCEED: Final = text(
    """
    UPDATE jobs SET
        state = 'succeeded', result = CAST(:result AS jsonb), progress = 1, leased_until = NULL,
        error = NULL, finished_at = clock_timestamp()
    WHERE id = :id AND attempt = :attempt AND state = 'running'
    RETURNING id
    """
)
_FAIL: Final = text(
    """
    UPDATE jobs SET
        state = CASE WHEN failures + 1 >= :attempts THEN 'failed' ELSE 'queued' END,
        failures = failures + 1, error = :error, problem = CAST(:problem AS jsonb),
        run_at = clock_timestamp() + make_interval(secs =>
            least(:retry * 2.0 ^ least(failures, 30), :longest) * (1 - random() / 2)),
        leased_until = NULL,
        finished_at = CASE WHEN failures + 1 >= :attempts THEN clock_timestamp() END
    WHERE id = :id AND attempt = :attempt AND state = 'running'
    RETURNING state
    """
)
_GIVE_BACK: Final = text(
    """
    UPDATE jobs SET
        state = 'queued', leased_until = NULL,
        run_at = clock_timestamp() + make_interval(secs => :delay)
    FROM unnest(CAST(:ids AS uuid[]), CAST(:attempts AS int[])) AS mine (id, attempt)
    WHERE jobs.id = mine.id AND jobs.attempt = mine.attempt AND state = 'running'
    RETURNING pg_notify(:channel, '')
    """
)
_RENEW: Final = text(
    """
    UPDATE jobs SET leased_until = clock_timestamp() + make_interval(secs => :lease)
    FROM unnest(CAST(:ids AS uuid[]), CAST(:attempts AS int[])) AS mine (id, attempt)
    WHERE jobs.id = mine.id AND jobs.attempt = mine.attempt AND state = 'running'
    RETURNING jobs.id
    """
)
_REAP: Final = text(
    """
    WITH lost AS (
        SELECT id, coalesce(known.attempts, :attempts) AS attempts FROM jobs
        LEFT JOIN unnest(CAST(:names AS text[]), CAST(:limits AS int[]))
            AS known (name, attempts) USING (name)
        WHERE state = 'running' AND (
            leased_until < clock_timestamp()
            OR leased_until > clock_timestamp() + make_interval(secs => :longest_lease)
        )
        ORDER BY leased_until LIMIT :limit FOR UPDATE OF jobs SKIP LOCKED
    )
    UPDATE jobs SET
        state = CASE WHEN failures + 1 >= lost.attempts THEN 'failed' ELSE 'queued' END,
        failures = failures + 1, error = 'WorkerLost', leased_until = NULL,
        run_at = clock_timestamp() + make_interval(secs =>
            least(2.0 ^ least(failures, 30), :longest) * (1 - random() / 2) - 0.5),
        finished_at = CASE WHEN failures + 1 >= lost.attempts THEN clock_timestamp() END
    FROM lost WHERE jobs.id = lost.id
    RETURNING jobs.id, jobs.name, jobs.state
    """
)
_SET_PROGRESS: Final = text(
    """
    UPDATE jobs SET progress = :fraction
    WHERE id = :id AND attempt = :attempt AND state = 'running'
    """
)
_DELETE_FINISHED: Final = text(
    """
    DELETE FROM jobs WHERE id IN (
        SELECT id FROM jobs
        WHERE state = :state AND finished_at < clock_timestamp() - make_interval(secs => :seconds)
        ORDER BY finished_at LIMIT :limit FOR UPDATE SKIP LOCKED
    )
    RETURNING id
    """
)
_COUNT: Final = text(
    f"""
    {_PRIORITIES}
    SELECT name, status, count(*) AS number,
           coalesce(extract(epoch FROM clock_timestamp() - min(since)), 0)::float8 AS oldest
    FROM (
        (SELECT job.name, job.run_at AS since, 'queued' AS status
         FROM priorities CROSS JOIN LATERAL (
            SELECT name, run_at FROM jobs
            WHERE state = 'queued' AND priority = priorities.priority AND run_at <= now()
            ORDER BY run_at LIMIT :limit
         ) AS job LIMIT :limit)
        UNION ALL
        (SELECT job.name, job.run_at, 'delayed'
         FROM priorities CROSS JOIN LATERAL (
            SELECT name, run_at FROM jobs
            WHERE state = 'queued' AND priority = priorities.priority AND run_at > now()
            LIMIT :limit
         ) AS job LIMIT :limit)
        UNION ALL
        (SELECT name, started_at, 'running' FROM jobs WHERE state = 'running' LIMIT :limit)
        UNION ALL
        (SELECT name, finished_at, 'failed' FROM jobs WHERE state = 'failed' LIMIT :limit)
    ) AS counted
    GROUP BY name, status ORDER BY name, status
    """  # noqa: S608 - our own text
)
_PROBE: Final = text("SELECT 1 FROM jobs LIMIT 1")
_FORGET: Final = text(
    "DELETE FROM jobs WHERE account = :account AND state IN ('succeeded', 'failed')"
)


@dataclass(frozen=True, slots=True)
class ClaimedJob:
    """A job that this worker is to run.

    Attributes:
        id: of the job.
        name: of the job.
        arguments: stored ones.
        attempt: which this is.
        failures: how many attempts have failed before.
        account: of the request that enqueued it.
        origin: what else travels with it.
        tick: of its schedule.
        delay: seconds since it could have begun.
    """

    id: UUID
    name: str
    arguments: dict[str, Any]
    attempt: int
    failures: int
    account: str | None
    origin: dict[str, Any]
    tick: datetime | None
    delay: float


@dataclass(frozen=True, slots=True)
class JobCount:
    """How many jobs of a name are in a state.

    Attributes:
        name: of the jobs.
        status: `queued`, `delayed`, `running` or `failed`.
        number: how many, up to `MAX_COUNTED`.
        oldest: seconds since the oldest could have begun, did begin or failed.
    """

    name: str
    status: str
    number: int
    oldest: float


async def insert(
    session: AsyncSession,
    *,
    job_id: UUID,
    name: str,
    arguments: bytes,
    priority: int,
    delay: float,
    unique_key: str | None,
    account: str | None,
    origin: Mapping[str, Any],
    tick: datetime | None = None,
) -> UUID:
    """Write a job, unless an unfinished one has its key; return the id of the one that is there."""
    parameters = {
        "id": job_id,
        "name": name,
        "arguments": arguments.decode(),
        "priority": priority,
        "delay": delay,
        "unique_key": unique_key,
        "account": account,
        "origin": orjson.dumps(origin).decode(),
        "tick": tick,
        "channel": NOTIFY_CHANNEL,
    }
    while True:
        if (await session.execute(_INSERT, parameters)).first() is not None:
            return job_id
        other = await session.scalar(_UNFINISHED, {"name": name, "unique_key": unique_key})
        if other is not None:  # otherwise it has ended in this moment
            return UUID(str(other))


async def claim(
    session: AsyncSession, names: Sequence[str], limit: int, lease: float
) -> list[ClaimedJob]:
    """Claim the jobs that are to be run next."""
    rows = await session.execute(_CLAIM, {"names": list(names), "limit": limit, "lease": lease})
    return [
        ClaimedJob(
            row.id,
            row.name,
            orjson.loads(row.arguments),
            row.attempt,
            row.failures,
            row.account,
            row.origin,
            row.tick,
            row.delay,
        )
        for row in rows
    ]


async def claim_limited(
    session: AsyncSession, name: str, concurrency: int, limit: int, lease: float
) -> list[ClaimedJob]:
    """Claim jobs of a name of which only so many may run at once.

    A transaction of its own: whoever else claims jobs of this name meanwhile gets none, so that
    both do not count the same ones.
    """
    if not await session.scalar(_LOCK_NAME, {"space": LOCK_NAMESPACE, "name": name}):
        return []
    running = await session.scalar(_RUNNING_OF_NAME, {"name": name}) or 0
    if running >= concurrency:
        return []
    return await claim(session, [name], min(limit, concurrency - running), lease)


async def succeed(session: AsyncSession, job_id: UUID, attempt: int, result: bytes) -> bool:
    """Record that an attempt succeeded; return False where it is no longer the current one."""
    parameters = {"id": job_id, "attempt": attempt, "result": result.decode()}
    return (await session.execute(_SUCCEED, parameters)).first() is not None


async def fail(
    session: AsyncSession,
    job_id: UUID,
    attempt: int,
    *,
    error: str,
    problem: bytes,
    attempts: int,
    retry_seconds: float,
) -> str | None:
    """Record that an attempt failed.

    Args:
        session: of the transaction.
        job_id: of the job.
        attempt: that failed.
        error: kind of the failure.
        problem: what a client may know of it.
        attempts: failures after which the job is a dead letter.
        retry_seconds: pause after the first failure.

    Returns:
        The state that the job has now; `None` where the attempt is no longer the current one.
    """
    parameters = {
        "id": job_id,
        "attempt": attempt,
        "error": error,
        "problem": problem.decode(),
        "attempts": attempts,
        "retry": retry_seconds,
        "longest": LONGEST_RETRY_SECONDS,
    }
    row = (await session.execute(_FAIL, parameters)).first()
    return None if row is None else str(row.state)


async def give_back(
    session: AsyncSession, attempts: Sequence[tuple[UUID, int]], delay: float = 0.0
) -> None:
    """Put jobs back into the queue whose attempts have neither succeeded nor failed."""
    parameters = {**_mine(attempts), "delay": delay, "channel": NOTIFY_CHANNEL}
    await session.execute(_GIVE_BACK, parameters)


async def renew(
    session: AsyncSession, attempts: Sequence[tuple[UUID, int]], lease: float
) -> set[UUID]:
    """Renew the leases of attempts; return the jobs of which the attempt is the current one."""
    return set(await session.scalars(_RENEW, {**_mine(attempts), "lease": lease}))


async def reap(
    session: AsyncSession, attempts: Mapping[str, int], default_attempts: int
) -> list[tuple[UUID, str, str]]:
    """Take jobs from workers that gave no sign for longer than their lease.

    Args:
        session: of the transaction.
        attempts: failures after which a job is a dead letter, by name.
        default_attempts: for names that are not among them.

    Returns:
        Id, name and new state of each.
    """
    parameters = {
        "names": list(attempts),
        "limits": list(attempts.values()),
        "attempts": default_attempts,
        "limit": REAPED_AT_ONCE,
        "longest": LONGEST_RETRY_SECONDS,
        "longest_lease": LONGEST_LEASE_SECONDS,
    }
    rows = await session.execute(_REAP, parameters)
    return [(row.id, row.name, row.state) for row in rows]


async def set_progress(session: AsyncSession, job_id: UUID, attempt: int, fraction: float) -> None:
    """Record how much of an attempt is done."""
    parameters = {"id": job_id, "attempt": attempt, "fraction": fraction}
    await session.execute(_SET_PROGRESS, parameters)


async def delete_finished(session: AsyncSession, state: str, seconds: float, limit: int) -> int:
    """Delete jobs that ended in this state longer ago; return how many were deleted."""
    parameters = {"state": state, "seconds": seconds, "limit": limit}
    return len((await session.execute(_DELETE_FINISHED, parameters)).all())


async def probe(session: AsyncSession) -> None:
    """Check that the database answers.

    Raises:
        SQLAlchemyError: when it does not.
    """
    await session.execute(_PROBE)


async def count(session: AsyncSession) -> list[JobCount]:
    """Count the jobs by name and state."""
    rows = await session.execute(_COUNT, {"limit": MAX_COUNTED})
    return [JobCount(row.name, row.status, row.number, max(row.oldest, 0.0)) for row in rows]


async def forget_jobs(session: AsyncSession, account: UUID | str) -> None:
    """Delete the finished jobs of an account, with their results, when it is closed."""
    await session.execute(_FORGET, {"account": str(account)})


def _mine(attempts: Sequence[tuple[UUID, int]]) -> dict[str, Any]:
    return {"ids": [each for each, _ in attempts], "attempts": [each for _, each in attempts]}


__all__ = [
    "NOTIFY_CHANNEL",
    "ClaimedJob",
    "JobCount",
    "claim",
    "claim_limited",
    "count",
    "delete_finished",
    "fail",
    "forget_jobs",
    "give_back",
    "insert",
    "probe",
    "reap",
    "renew",
    "set_progress",
    "succeed",
]
