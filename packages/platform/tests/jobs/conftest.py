"""Workers of the jobs of the sample service `shop`."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from shop.jobs import jobs as jobs_of_shop
from shop.jobs import metadata

from service_platform.database import Database
from service_platform.jobs import Jobs, JobSettings, JobWorker
from service_platform.jobs import worker as worker_module
from service_platform.logging import configure_logging


@pytest.fixture
async def database(database: Database) -> Database:
    """The shop's database, with the tables of jobs and one that shows their effects."""
    async with database.engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    return database


@pytest.fixture
def settings(service_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> JobSettings:
    """Short waits, so that what they separate can be seen in a test."""
    for name in ("METRICS_SECONDS", "CLEANUP_SECONDS", "SCHEDULE_SECONDS"):
        monkeypatch.setattr(worker_module, name, 0.05)
    made = JobSettings(
        jobs_in_service=True, jobs_poll_seconds=0.1, jobs_lease_seconds=0.5, log_format="json"
    )
    configure_logging(made)  # as an application does; structlog's own tracebacks take seconds
    return made


Run = Callable[..., AbstractAsyncContextManager[JobWorker]]


@pytest.fixture
def without_schedules() -> Jobs:
    """The shop's jobs that nothing enqueues by itself."""
    chosen = Jobs()
    chosen.by_name = {
        name: each for name, each in jobs_of_shop.by_name.items() if each.cron is None
    }
    return chosen


@pytest.fixture
def worker(settings: JobSettings, database: Database, without_schedules: Jobs) -> Run:
    """`async with worker():` runs one; keywords are settings."""

    @asynccontextmanager
    async def run(jobs: Jobs = without_schedules, **changed: Any) -> AsyncIterator[JobWorker]:
        made = JobWorker(settings.model_copy(update=changed), database, jobs)
        await made.start()
        try:
            yield made
        finally:
            await made.stop()

    return run
