"""The tables of jobs and their schedules, as part of a service's tables.

    job_tables(Base.metadata)

in the service's `models.py`; `./dev migrate new` then writes the migration, as for any table. When
a release of the platform changes them, it does so again.
"""

from typing import Final

from sqlalchemy import (
    CheckConstraint,
    Column,
    DateTime,
    Double,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

JOBS: Final = "jobs"
SCHEDULES: Final = "job_schedules"


def job_tables(metadata: MetaData) -> tuple[Table, Table]:
    """The tables `jobs` and `job_schedules`.

    A job is `queued` (also while it waits for its time or its next attempt), `running`, and in the
    end `succeeded` or `failed`; a failed one is a dead letter. `attempt` counts how often it was
    begun, and is what tells a worker that its attempt is no longer the current one. `failures`
    counts the attempts that failed, as its limit does. `origin` is what travels with it from the
    request that enqueued it.
    """
    jobs = Table(
        JOBS,
        metadata,
        Column("id", Uuid, primary_key=True),
        Column("name", Text, nullable=False),
        Column("state", Text, nullable=False, server_default=text("'queued'")),
        Column("priority", Integer, nullable=False, server_default=text("0")),
        Column("arguments", JSONB, nullable=False),
        Column("unique_key", Text),
        Column("account", Text),
        Column("origin", JSONB, nullable=False),
        Column("tick", DateTime(timezone=True)),
        Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
        Column("run_at", DateTime(timezone=True), nullable=False),
        Column("attempt", Integer, nullable=False, server_default=text("0")),
        Column("failures", Integer, nullable=False, server_default=text("0")),
        Column("leased_until", DateTime(timezone=True)),
        Column("started_at", DateTime(timezone=True)),
        Column("finished_at", DateTime(timezone=True)),
        Column("progress", Double),
        Column("result", JSONB),
        Column("error", Text),
        Column("problem", JSONB),
        CheckConstraint("state IN ('queued', 'running', 'succeeded', 'failed')", name="state"),
    )
    Index(
        "ix_jobs_queued",
        jobs.c.priority.desc(),
        jobs.c.run_at,
        jobs.c.id,
        postgresql_where=text("state = 'queued'"),
    )
    Index("ix_jobs_running", jobs.c.leased_until, postgresql_where=text("state = 'running'"))
    Index("ix_jobs_succeeded", jobs.c.finished_at, postgresql_where=text("state = 'succeeded'"))
    Index("ix_jobs_failed", jobs.c.finished_at, postgresql_where=text("state = 'failed'"))
    Index("ix_jobs_account", jobs.c.account, postgresql_where=text("account IS NOT NULL"))
    Index(
        "uq_jobs_name_unique_key",
        jobs.c.name,
        jobs.c.unique_key,
        unique=True,
        postgresql_where=text("unique_key IS NOT NULL AND state IN ('queued', 'running')"),
    )
    schedules = Table(
        SCHEDULES,
        metadata,
        Column("name", Text, primary_key=True),
        Column("cron", Text, nullable=False),
        Column("next_at", DateTime(timezone=True), nullable=False),
    )
    return jobs, schedules


__all__ = ["job_tables"]
