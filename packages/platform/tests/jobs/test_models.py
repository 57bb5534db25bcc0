"""The tables of jobs, as Alembic writes and compares them."""

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from shop.jobs import metadata
from sqlalchemy import Connection

from service_platform.database import Database


async def test_a_migration_that_was_written_for_them_leaves_nothing_to_change(
    database: Database,
) -> None:
    """Else `./dev check` would find each service's schema outdated after its migration."""

    def differences(connection: Connection) -> list[object]:
        found = compare_metadata(MigrationContext.configure(connection), metadata)
        return [each for each in found if "jobs" in str(each) or "job_schedules" in str(each)]

    async with database.engine.connect() as connection:
        assert await connection.run_sync(differences) == []
