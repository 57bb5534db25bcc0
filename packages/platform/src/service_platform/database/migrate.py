"""Migrates a service's database to the schema its code needs.

    python -m service_platform.database.migrate users up --wait 60
    python -m service_platform.database.migrate users status
    python -m service_platform.database.migrate users new "add colour"
    python -m service_platform.database.migrate users sql

`DATABASE_URL` and the other settings come from the environment, as for the service itself. Only one
process migrates a database at a time: the others wait for an advisory lock, then find nothing to
do. Migrations go forward only; each is one transaction, and must leave the schema usable for the
release that is still running. What cannot be part of a transaction stands in a migration of its
own, in `with op.get_context().autocommit_block():`, and can be run again when it was broken off.
"""

import argparse
import asyncio
import secrets
import sys
import time
import zlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from service_platform.database.alembic_command import (
    MigrationError,
    migration_sql,
    run_command,
)
from service_platform.database.engine import make_migration_engine
from service_platform.database.resource import CURRENT_REVISION, UNDEFINED_TABLE
from service_platform.errors.database import DatabaseUnavailableError, sqlstate
from service_platform.revisions import MigrationsError, revisions_of
from service_platform.settings import PlatformSettings, load_settings

LOCK_WAIT_SECONDS: Final = 120
"""How long one migration waits for another to end."""
LOCK_INTERVAL_SECONDS: Final = 0.2
"""Between two attempts to get the lock."""
WAIT_INTERVAL_SECONDS: Final = 0.5
"""Between two attempts to reach a database that is not there yet."""


@dataclass(frozen=True, slots=True)
class Status:
    """Where a database stands.

    Attributes:
        current: its revision, `None` when it was never migrated.
        head: the newest revision of the code, `None` when it has none.
        pending: how many migrations are to be run.
        is_newer: whether the code does not know the revision: a newer release has migrated.
    """

    current: str | None
    head: str | None
    pending: int
    is_newer: bool = False

    @property
    def is_current(self) -> bool:
        """True when the service can use the database."""
        return self.pending == 0


async def up(service: str, settings: PlatformSettings) -> Status:
    """Run every migration that is missing.

    Args:
        service: import name, such as `users`; its migrations are the package `users.migrations`.
        settings: with the address of the database.

    Returns:
        Where the database stood before.

    Raises:
        MigrationError: with the reason in one sentence.
    """
    migrations = f"{service}.migrations"
    async with _connected(settings) as lock, _locked(lock, service):
        before = await _status(lock, migrations)
        if before.pending:
            async with _connected(settings) as connection:
                await run_command(connection, migrations, "upgrade", "head")
    return before


async def status(service: str, settings: PlatformSettings) -> Status:
    """Return where the database stands.

    Raises:
        MigrationError: with the reason in one sentence.
    """
    async with _connected(settings) as connection:
        return await _status(connection, f"{service}.migrations")


async def new(service: str, settings: PlatformSettings, message: str) -> str | None:
    """Write a migration that makes the difference between the models and the database.

    Args:
        service: import name.
        settings: with the address of a database that has every existing migration.
        message: what the migration does, in a few words.

    Returns:
        The path of the file, `None` when there is no difference.

    Raises:
        MigrationError: with the reason in one sentence.
    """
    migrations = f"{service}.migrations"
    revisions_of(migrations)
    async with _connected(settings) as connection:
        made = await run_command(
            connection, migrations, "revision", message, autogenerate=True, rev_id=new_revision_id()
        )
    written = [script for script in (made if isinstance(made, list) else [made]) if script]
    return str(written[0].path) if written else None


def new_revision_id() -> str:
    """Return a revision id that no other branch has: the time in UTC and four random digits."""
    return f"{datetime.now(UTC):%Y%m%d%H%M%S}{secrets.token_hex(2)}"


async def wait_for_database(service: str, settings: PlatformSettings, seconds: float) -> None:
    """Return when the database answers, or after so many seconds in any case.

    Says what it waits for, once for each reason: an init container that only hangs tells nothing.
    """
    deadline = time.monotonic() + seconds
    engine = make_migration_engine(settings)
    said = ""
    try:
        while time.monotonic() < deadline:
            try:
                async with engine.connect():
                    return
            except DatabaseUnavailableError as error:
                if said != error.reason:
                    said = error.reason
                    _say(service, f"waiting up to {seconds:g} s for the database ({said})")
            await asyncio.sleep(WAIT_INTERVAL_SECONDS)
    finally:
        await engine.dispose()


@asynccontextmanager
async def _connected(settings: PlatformSettings) -> AsyncIterator[AsyncConnection]:
    engine = make_migration_engine(settings)
    try:
        async with engine.connect() as connection:
            yield connection
    except DatabaseUnavailableError as error:
        raise MigrationError(
            f"The database cannot be reached ({error.reason}); is DATABASE_URL right and is "
            "PostgreSQL running?"
        ) from error
    finally:
        await engine.dispose()


def lock_key(service: str) -> int:
    """Return the key of a service's advisory lock."""
    return zlib.crc32(f"migrations of {service}".encode())


@asynccontextmanager
async def _locked(connection: AsyncConnection, service: str) -> AsyncIterator[None]:
    """Hold the service's advisory lock by a transaction, which a pooler keeps on one session.

    Whoever waits for it holds no transaction meanwhile: the pooler may have few connections.
    """
    key = lock_key(service)
    deadline = time.monotonic() + LOCK_WAIT_SECONDS
    while not await connection.scalar(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": key}):
        await connection.rollback()
        if time.monotonic() > deadline:
            raise MigrationError(
                f"Another process has been migrating the database of {service} for more than "
                f"{LOCK_WAIT_SECONDS} s; wait for it to end and try again."
            )
        await asyncio.sleep(LOCK_INTERVAL_SECONDS)
    await connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
    try:
        yield
    finally:
        if not connection.closed and not connection.invalidated:
            await connection.rollback()


async def _status(connection: AsyncConnection, migrations: str) -> Status:
    wanted = revisions_of(migrations)
    try:
        async with connection.begin_nested():
            current = await connection.scalar(CURRENT_REVISION)
    except DBAPIError as error:
        if sqlstate(error) != UNDEFINED_TABLE:
            raise
        current = None
    is_newer = current is not None and current not in wanted.order
    return Status(current, wanted.head, wanted.pending(current), is_newer)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0, 1 for a failure, or 3 for a database that is behind."""
    parser = argparse.ArgumentParser(
        prog="python -m service_platform.database.migrate",
        description="Bring a service's database to the schema its code needs.",
    )
    parser.add_argument("service", help="import name of the service, such as users")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("up", help="run the migrations that are missing")
    run.add_argument(
        "--wait",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="how long to wait for a database that cannot be reached yet",
    )
    commands.add_parser("status", help="say where the database stands; exit status 3 when behind")
    commands.add_parser("sql", help="show the SQL of all migrations, for review")
    write = commands.add_parser("new", help="write a migration from the difference to the models")
    write.add_argument("message", help="what it does, in a few words")
    options = parser.parse_args(arguments)
    try:
        known = revisions_of(f"{options.service}.migrations")
        if options.command == "sql":
            for revision in known.order:
                sys.stdout.write(migration_sql(f"{options.service}.migrations", revision))
            return 0
        settings = load_settings(PlatformSettings)
        return asyncio.run(_carry_out(options, settings))
    except (MigrationError, MigrationsError) as error:
        sys.stderr.write(f"{options.service}: {error}\n")
        return 1


async def _carry_out(options: argparse.Namespace, settings: PlatformSettings) -> int:
    service = options.service
    if options.command == "up":
        await wait_for_database(service, settings, options.wait)
        before = await up(service, settings)
        plural = "" if before.pending == 1 else "s"
        done = f"{before.pending} migration{plural} run, now at {before.head}"
        if before.is_newer:
            done = f"nothing to do, at {before.current}, which a newer release knows"
        elif not before.pending:
            done = f"nothing to do, at {before.current}"
        _say(service, done)
        return 0
    if options.command == "status":
        found = await status(service, settings)
        stands = f"at {found.current or 'no revision'}, newest is {found.head or 'none'}"
        _say(service, f"{stands}, {found.pending} to run")
        return 0 if found.is_current else 3
    path = await new(service, settings, options.message)
    written = f"wrote {path}; read it before you run it"
    _say(service, written if path else "models and database agree, nothing written")
    return 0


def _say(service: str, sentence: str) -> None:
    sys.stdout.write(f"{service}: {sentence}.\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
