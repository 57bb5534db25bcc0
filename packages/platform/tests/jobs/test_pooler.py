"""Jobs through a real PgBouncer with pool_mode=transaction."""

from pathlib import Path

import pytest
from shop import jobs as shop
from shop.job_watching import enqueued
from shop.watching import rows, until

from service_platform.database import Database
from service_platform.jobs import Jobs, JobSettings, JobWorker
from service_testing.errors import LocalServerError
from service_testing.pgbouncer import LocalPgBouncer, pgbouncer_program
from service_testing.postgres import LocalPostgres

PASSWORD = "shop"


def is_missing() -> str:
    try:
        pgbouncer_program()
    except LocalServerError as error:
        return str(error)
    return ""


@pytest.mark.skipif(bool(is_missing()), reason=is_missing() or "installed")
async def test_jobs_are_run_through_a_pooler(
    own_postgres: LocalPostgres, tmp_path: Path, without_schedules: Jobs
) -> None:
    own_postgres.create_role("shop", PASSWORD)
    own_postgres.create_database("shop", owner="shop")
    pooler = LocalPgBouncer(tmp_path / "pgbouncer", own_postgres, role="shop", password=PASSWORD)
    pooler.start()
    settings = JobSettings(
        _env_file=None,
        environment="test",
        database_url=pooler.url,
        database_pooler="transaction",
        jobs_in_service=True,
        jobs_poll_seconds=0.1,
    )
    database = Database(settings, migrations=None)
    worker = JobWorker(settings, database, without_schedules)
    try:
        async with database.engine.begin() as connection:
            await connection.run_sync(shop.metadata.create_all)
        await worker.start()
        for number in range(30):
            await enqueued(database, shop.queue_up if number % 3 else shop.note, number=number)

        async def done() -> bool:
            return len(await rows(database, "SELECT 1 FROM jobs WHERE state = 'succeeded'")) == 30

        await until(done)
    finally:
        await worker.stop()
        await database.stop()
        pooler.remove()
