"""Alembic's commands on a connection: limits, failures in one sentence, SQL without a database."""

from pathlib import Path

import pytest
from growing_service import write
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from service_platform.database import alembic_command, migrate
from service_platform.database.alembic_command import (
    MigrationError,
    migration_sql,
    run_command,
)
from service_platform.settings import PlatformSettings
from service_testing.postgres import LocalPostgres


async def test_a_failed_migration_changes_nothing_and_says_why(
    empty_settings: PlatformSettings, connection: AsyncConnection, growing: Path
) -> None:
    write(growing, 1, "op.execute('CREATE TABLE first (id int)')")
    write(
        growing,
        2,
        "op.execute('CREATE TABLE second (id int)'); op.execute('SELECT missing FROM first')",
    )
    with pytest.raises(MigrationError, match='column "missing" does not exist'):
        await migrate.up("growing", empty_settings)
    assert (await migrate.status("growing", empty_settings)).current == "0001"
    assert await connection.scalar(text("SELECT to_regclass('second')")) is None
    write(growing, 2, "op.execute('CREATE TABLE second (id int)')")
    await migrate.up("growing", empty_settings)
    assert await connection.scalar(text("SELECT to_regclass('second')::text")) == "second"


async def test_a_table_in_use_is_not_waited_for_for_ever(
    empty_settings: PlatformSettings,
    connection: AsyncConnection,
    growing: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(alembic_command, "TABLE_LOCK_WAIT_SECONDS", 0.1)
    write(growing, 1, "op.execute('CREATE TABLE busy (id int)')")
    await migrate.up("growing", empty_settings)
    write(growing, 2, "op.execute('ALTER TABLE busy ADD COLUMN colour text')")
    await connection.execute(text("SELECT * FROM busy"))
    with pytest.raises(MigrationError, match="A table stayed in use"):
        await migrate.up("growing", empty_settings)
    await connection.rollback()
    await migrate.up("growing", empty_settings)


@pytest.mark.parametrize("pooler", ["none", "transaction"])
async def test_a_migration_may_take_longer_than_the_statements_of_requests(
    empty_settings: PlatformSettings, growing: Path, postgres_server: LocalPostgres, pooler: str
) -> None:
    name = empty_settings.database_url.get_secret_value().rpartition("/")[2]
    postgres_server.execute(f"ALTER DATABASE \"{name}\" SET statement_timeout = '200ms'")
    write(growing, 1, "op.execute('SELECT pg_sleep(0.4)')")
    told = empty_settings.model_copy(update={"database_pooler": pooler})
    assert (await migrate.up("growing", told)).pending == 1


@pytest.mark.parametrize("pooler", ["none", "transaction"])
async def test_an_index_is_built_concurrently_and_again_after_a_failure(
    empty_settings: PlatformSettings, connection: AsyncConnection, growing: Path, pooler: str
) -> None:
    told = empty_settings.model_copy(update={"database_pooler": pooler})
    write(growing, 1, "op.execute('CREATE TABLE things (id int)')")
    await migrate.up("growing", told)
    await connection.execute(text("INSERT INTO things VALUES (1), (1)"))
    await connection.commit()
    write(
        growing,
        2,
        "with op.get_context().autocommit_block():\n"
        "        op.drop_index('ix', if_exists=True, postgresql_concurrently=True)\n"
        "        op.create_index('ix', 'things', ['id'], unique=True,"
        " postgresql_concurrently=True)",
    )
    with pytest.raises(MigrationError, match="could not create unique index"):
        await migrate.up("growing", told)
    assert (await migrate.status("growing", told)).current == "0001"
    await connection.execute(text("DELETE FROM things"))
    await connection.commit()
    assert (await migrate.up("growing", told)).pending == 1
    valid = text("SELECT indisvalid FROM pg_index WHERE indexrelid = 'ix'::regclass")
    assert await connection.scalar(valid)


async def test_a_command_of_alembic_runs_on_the_connection(
    connection: AsyncConnection, growing: Path
) -> None:
    write(growing, 1, "op.execute('CREATE TABLE first (id int)')")
    write(growing, 2, "op.execute('CREATE TABLE second (id int)')")
    await run_command(connection, "growing.migrations", "upgrade", "0001")
    tables = await connection.scalars(
        text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    )
    assert set(tables) == {"alembic_version", "first"}


async def test_what_alembic_refuses_is_one_sentence(
    connection: AsyncConnection, growing: Path
) -> None:
    write(growing, 1, "pass")
    with pytest.raises(MigrationError, match=r"^Can't locate revision identified by '0009'\.$"):
        await run_command(connection, "growing.migrations", "upgrade", "0009")


def test_the_sql_of_a_migration_is_that_of_this_one_alone(growing: Path) -> None:
    write(growing, 1, "op.execute('CREATE TABLE first (id int)')")
    write(growing, 2, "op.execute('CREATE TABLE second (id int)')")
    sql = migration_sql("growing.migrations", "0002")
    assert "CREATE TABLE second" in sql
    assert "UPDATE alembic_version SET version_num='0002'" in sql
    assert "first" not in sql


def test_the_sql_of_a_migration_that_asks_the_database_cannot_be_shown(growing: Path) -> None:
    write(growing, 1, "op.get_bind().exec_driver_sql('SELECT 1').scalar_one()")
    with pytest.raises(MigrationError, match="The SQL of migration 0001 cannot be shown"):
        migration_sql("growing.migrations", "0001")
