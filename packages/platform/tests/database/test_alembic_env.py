"""What a service's `migrations/env.py` runs, whichever way Alembic was started."""

import subprocess
import sys
from pathlib import Path

import pytest
from growing_service import write
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from service_platform.database.alembic_command import MigrationError, run_command

MODELS = """
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from service_platform.database import new_metadata
from service_platform.database.alembic_env import run


class Base(DeclarativeBase):
    metadata = new_metadata()


class Thing(Base):
    __tablename__ = "things"
    id: Mapped[int] = mapped_column(primary_key=True)
    amount: Mapped[int] = mapped_column(server_default="{default}")


run(Base.metadata)
"""


def names_of(folder: Path) -> list[str]:
    return [each.name for each in folder.glob("*.py")]


async def test_every_migration_is_a_transaction_of_its_own(
    connection: AsyncConnection, growing: Path
) -> None:
    write(growing, 1, "op.execute('CREATE TABLE seen AS SELECT txid_current() AS id')")
    write(growing, 2, "op.execute('INSERT INTO seen SELECT txid_current()')")
    await run_command(connection, "growing.migrations", "upgrade", "head")
    assert await connection.scalar(text("SELECT count(DISTINCT id) FROM seen")) == 2


async def test_the_difference_to_the_models_is_written_with_types_and_defaults(
    connection: AsyncConnection, growing: Path
) -> None:
    environment = growing.parent / "env.py"
    environment.write_text(MODELS.format(default="0"))
    write(
        growing,
        1,
        "op.execute('CREATE TABLE things (id serial CONSTRAINT pk_things PRIMARY KEY,"
        " amount bigint NOT NULL DEFAULT 5)')",
    )
    await run_command(connection, "growing.migrations", "upgrade", "head")
    await run_command(
        connection, "growing.migrations", "revision", "amounts", autogenerate=True, rev_id="0002"
    )
    written = (growing / "0002_amounts.py").read_text()
    assert "type_=sa.Integer()" in written
    assert "server_default" in written


async def test_no_file_is_written_without_a_difference(
    connection: AsyncConnection, growing: Path
) -> None:
    write(growing, 1, "pass")
    await run_command(connection, "growing.migrations", "upgrade", "head")
    await run_command(connection, "growing.migrations", "revision", "none", autogenerate=True)
    assert names_of(growing) == ["0001_step.py"]


async def test_a_database_that_lacks_migrations_is_migrated_first(
    connection: AsyncConnection, growing: Path
) -> None:
    write(growing, 1, "pass")
    with pytest.raises(MigrationError, match="lacks migrations; run `up` first"):
        await run_command(connection, "growing.migrations", "revision", "x", autogenerate=True)


def test_alembics_own_command_is_told_which_one_to_use(growing: Path) -> None:
    write(growing, 1, "pass")
    folder = growing.parent
    program = (
        "from alembic import command; from alembic.config import Config; config = Config();"
        f"config.set_main_option('script_location', {str(folder)!r});"
        "command.upgrade(config, 'head')"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert "Run migrations by: python -m service_platform.database.migrate" in done.stderr
