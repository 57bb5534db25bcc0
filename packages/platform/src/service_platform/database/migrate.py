"""Brings a service's database to the schema its code needs.

    python -m service_platform.database.migrate items up --wait 60
    python -m service_platform.database.migrate items status
    python -m service_platform.database.migrate items new "add colour"

`DATABASE_URL` and the other settings come from the environment, as for the service itself. Only one
process migrates a database at a time: the others wait for an advisory lock, then find nothing to
do. Migrations go forward only; each is one transaction, and must leave the schema usable for the
release that is still running. What cannot be part of a transaction stands in a migration of its
own, in `with op.get_context().autocommit_block():`, and can be run again when it was broken off.
"""

import argparse
import asyncio
import sys
import time
import zlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, event, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from service_platform.database.engine import make_migration_engine
from service_platform.database.resource import CURRENT_REVISION, UNDEFINED_TABLE
from service_platform.errors.database import DatabaseUnavailableError, sqlstate
from service_platform.revisions import MigrationsError, folder_of, revisions_of
from service_platform.settings import PlatformSettings, load_settings

LOCK_WAIT_SECONDS: Final = 120
"""How long one migration waits for another to end."""
TABLE_LOCK_WAIT_SECONDS: Final = 10
"""How long a statement waits for a table; meanwhile every request for that table waits, too."""
LOCK_NOT_AVAILABLE: Final = "55P03"
LOCK_INTERVAL_SECONDS: Final = 0.2
"""Between two attempts to get the lock."""
WAIT_INTERVAL_SECONDS: Final = 0.5
"""Between two attempts to reach a database that is not there yet."""


class MigrationError(Exception):
    """A migration did not happen; the message is one sentence for the person who asked."""


@dataclass(frozen=True, slots=True)
class Status:
    """Where a database stands.

    Attributes:
        current: its revision, `None` when it was never migrated.
        head: the newest revision of the code, `None` when it has none.
        pending: how many migrations are to be run.
    """

    current: str | None
    head: str | None
    pending: int

    @property
    def is_current(self) -> bool:
        """True when the service can use the database."""
        return self.pending == 0


async def up(service: str, settings: PlatformSettings) -> Status:
    """Run every migration that is missing.

    Args:
        service: import name, such as `items`; its migrations are the package `items.migrations`.
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
                await _alembic(connection, migrations, "upgrade", "head")
    return before


async def status(service: str, settings: PlatformSettings) -> Status:
    """Where the database stands.

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
    number = f"{len(revisions_of(migrations).order) + 1:04d}"
    async with _connected(settings) as connection:
        made = await _alembic(
            connection, migrations, "revision", message, autogenerate=True, rev_id=number
        )
    written = [script for script in (made if isinstance(made, list) else [made]) if script]
    return str(written[0].path) if written else None


async def wait_for_database(service: str, settings: PlatformSettings, seconds: float) -> None:
    """Return when the database answers, or after so many seconds in any case.

    Says what it waits for, once for each reason: an init container that only hangs is a riddle.
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
    """The number of a service's advisory lock."""
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
    return Status(current, wanted.head, wanted.pending(current))


async def _alembic(
    connection: AsyncConnection, migrations: str, name: str, *arguments: Any, **options: Any
) -> Any:
    """Run one of Alembic's commands on the connection; what it returns."""
    # Most pods start with nothing to migrate, and need not wait for this import.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(folder_of(migrations)).replace("%", "%%"))
    config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    config.set_main_option("path_separator", "os")

    def run(sync_connection: Any) -> Any:
        event.listen(sync_connection, "begin", _limit_locks)
        config.attributes["connection"] = sync_connection
        return getattr(command, name)(config, *arguments, **options)

    try:
        result = await connection.run_sync(run)
        await connection.commit()
    except CommandError as error:
        if "not up to date" in str(error):
            message = "The database lacks migrations; run `up` first."
        else:
            message = f"{error}".rstrip(".") + "."
        raise MigrationError(message) from error
    except SQLAlchemyError as error:
        raise MigrationError(_explained(error)) from error
    return result


def _limit_locks(connection: Connection) -> None:
    """Set the limits of a migration's transaction; a role may have others for its statements."""
    connection.exec_driver_sql(
        f"SET LOCAL lock_timeout = '{round(TABLE_LOCK_WAIT_SECONDS * 1000)}'"
    )
    connection.exec_driver_sql("SET LOCAL statement_timeout = 0")


def _explained(error: SQLAlchemyError) -> str:
    if sqlstate(error) == LOCK_NOT_AVAILABLE:
        return (
            f"A table stayed in use for more than {TABLE_LOCK_WAIT_SECONDS} s, so the migration "
            "was given up and changed nothing; try again when long transactions have ended."
        )
    original = getattr(error, "orig", None)
    cause = getattr(original, "__cause__", None) or original or error
    first_line = str(cause).partition("\n")[0]
    return f"A migration failed and was rolled back: {first_line}."


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit status: 0, 1 for a failure, 3 for a database that is behind."""
    parser = argparse.ArgumentParser(
        prog="python -m service_platform.database.migrate",
        description="Bring a service's database to the schema its code needs.",
    )
    parser.add_argument("service", help="import name of the service, such as items")
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
    write = commands.add_parser("new", help="write a migration from the difference to the models")
    write.add_argument("message", help="what it does, in a few words")
    options = parser.parse_args(arguments)
    try:
        revisions_of(f"{options.service}.migrations")
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
        _say(service, done if before.pending else f"nothing to do, at {before.current}")
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
