"""Bringing databases to the newest schema: in order, once, and with one sentence on failure."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from growing_service import write
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from service_platform.database import migrate
from service_platform.database.alembic_command import MigrationError
from service_platform.revisions import MigrationsError, revisions_of
from service_platform.settings import PlatformSettings

SAMPLE = Path(__file__).parents[1] / "sample"


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(empty_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command in this process; returns exit status, output and error output."""

    def call(*arguments: str, url: str = empty_url) -> tuple[int, str, str]:
        monkeypatch.setenv("DATABASE_URL", url)
        capsys.readouterr()
        revisions_of.cache_clear()
        status = migrate.main(arguments)
        shown = capsys.readouterr()
        return status, shown.out, shown.err

    return call


async def test_migrations_run_in_order_and_only_once(
    empty_settings: PlatformSettings, connection: AsyncConnection
) -> None:
    assert await migrate.up("shop", empty_settings) == migrate.Status(None, "0002", 2)
    assert await migrate.up("shop", empty_settings) == migrate.Status("0002", "0002", 0)
    assert (await migrate.status("shop", empty_settings)).is_current
    tables = await connection.scalars(
        text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    )
    assert set(tables) == {"alembic_version", "idempotency_keys", "products"}


async def test_models_and_migrations_of_the_sample_agree(empty_settings: PlatformSettings) -> None:
    await migrate.up("shop", empty_settings)
    assert await migrate.new("shop", empty_settings, "nothing") is None


async def test_of_processes_that_migrate_at_once_one_does_the_work(
    empty_settings: PlatformSettings,
) -> None:
    before = await asyncio.gather(*(migrate.up("shop", empty_settings) for _ in range(4)))
    assert sorted(status.pending for status in before) == [0, 0, 0, 2]


async def test_another_migration_that_takes_too_long_is_told(
    empty_settings: PlatformSettings, connection: AsyncConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "LOCK_WAIT_SECONDS", 0.1)
    key = migrate.lock_key("shop")
    await connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": key})
    with pytest.raises(MigrationError, match="Another process has been migrating"):
        await migrate.up("shop", empty_settings)


async def test_two_newest_revisions_are_refused(
    growing: Path, empty_settings: PlatformSettings
) -> None:
    write(growing, 1, "pass")
    write(growing, 2, "pass")
    (growing / "0003_other.py").write_text("revision = '0003'\ndown_revision = '0001'\n")
    revisions_of.cache_clear()
    message = r"0002_step.py and 0003_other.py of growing.migrations both follow 0001;"
    with pytest.raises(MigrationsError, match=message):
        await migrate.status("growing", empty_settings)


def test_the_command_migrates_and_tells_where_a_database_stands(run: Run) -> None:
    assert run("shop", "status") == (3, "shop: at no revision, newest is 0002, 2 to run.\n", "")
    assert run("shop", "up") == (0, "shop: 2 migrations run, now at 0002.\n", "")
    assert run("shop", "up") == (0, "shop: nothing to do, at 0002.\n", "")
    assert run("shop", "status") == (0, "shop: at 0002, newest is 0002, 0 to run.\n", "")


def test_two_files_with_one_revision_are_refused_though_the_database_is_there(
    run: Run, growing: Path
) -> None:
    write(growing, 1, "op.execute('CREATE TABLE mine (id int)')")
    assert run("growing", "up") == (0, "growing: 1 migration run, now at 0001.\n", "")
    theirs = (growing / "0001_step.py").read_text().replace("mine", "theirs")
    (growing / "0001_theirs.py").write_text(theirs)
    for command in ("up", "status"):
        status, shown, error = run("growing", command)
        assert (status, shown) == (1, "")
        assert "0001_step.py and 0001_theirs.py of growing.migrations both are revision" in error
        assert error.count("\n") == 1


def test_a_database_of_a_newer_release_is_left_alone_and_that_is_said(
    run: Run, growing: Path
) -> None:
    write(growing, 1, "pass")
    write(growing, 2, "pass")
    run("growing", "up")
    (growing / "0002_step.py").unlink()
    done = "growing: nothing to do, at 0002, which a newer release knows.\n"
    assert run("growing", "up") == (0, done, "")


def test_the_command_shows_the_sql_of_migrations(run: Run) -> None:
    status, shown, error = run("shop", "sql", url="postgresql://nobody@127.0.0.1:1/nothing")
    assert (status, error) == (0, "")
    assert "CREATE TABLE products" in shown
    assert shown.index("-> 0001") < shown.index("0001 -> 0002")


def test_ids_of_new_migrations_differ_and_are_in_the_order_of_time() -> None:
    ids = [migrate.new_revision_id() for _ in range(20)]
    assert len(set(ids)) == 20
    assert [each[:14] for each in ids] == sorted(each[:14] for each in ids)


def test_the_command_writes_a_migration_from_the_models(run: Run, growing: Path) -> None:
    (growing.parents[1] / "migrations" / "env.py").write_text(
        "from service_platform.database.alembic_env import run\n"
        "from shop.models import Base\n\nrun(Base.metadata)\n"
    )
    assert run("growing", "new", "Initial tables!")[0] == 0
    (written,) = growing.glob("*.py")
    assert re.fullmatch(r"\d{14}[0-9a-f]{4}_initial_tables\.py", written.name)
    message = "growing: The database lacks migrations; run `up` first.\n"
    assert run("growing", "new", "again") == (1, "", message)
    assert run("growing", "up")[0] == 0
    assert "nothing written" in run("growing", "new", "again")[1]


@pytest.mark.parametrize(
    ("service", "url", "message"),
    [
        ("nope", "postgresql://x:secret@127.0.0.1:1/x", "There is no package nope.migrations"),
        ("shop", "postgresql://x:secret@127.0.0.1:1/x", "cannot be reached"),
    ],
)
def test_what_goes_wrong_is_one_sentence(run: Run, service: str, url: str, message: str) -> None:
    status, shown, error = run(service, "up", url=url)
    assert (status, shown) == (1, "")
    assert error.startswith(f"{service}: ")
    assert message in error
    assert error.count("\n") == 1
    assert "secret" not in error


def test_the_module_is_the_command(empty_url: str) -> None:
    command = [sys.executable, "-m", "service_platform.database.migrate", "shop", "up"]
    environment = {"DATABASE_URL": empty_url, "PYTHONPATH": str(SAMPLE), "PATH": os.defpath}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "shop: 2 migrations run, now at 0002.\n"
