"""Runs Alembic's commands: on a connection, or to write the SQL of a migration."""

import io
from typing import Any, Final

from sqlalchemy import Connection, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from service_platform.errors.database import sqlstate
from service_platform.revisions import folder_of, revisions_of

TABLE_LOCK_WAIT_SECONDS: Final = 10
"""How long a statement waits for a table; meanwhile every request for that table waits, too."""
LOCK_NOT_AVAILABLE: Final = "55P03"


class MigrationError(Exception):
    """A migration did not happen; the message is one sentence for the person who asked."""


async def run_command(
    connection: AsyncConnection, migrations: str, name: str, *arguments: Any, **options: Any
) -> Any:
    """Run one of Alembic's commands on a connection.

    Args:
        connection: to the database.
        migrations: package of the migrations.
        name: of the command, a function of `alembic.command`.
        arguments: of the command.
        options: of the command.

    Returns:
        What the command returns.

    Raises:
        MigrationError: with the reason in one sentence.
    """
    # Most pods start with nothing to migrate, and need not wait for this import.
    from alembic import command  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    config = _config(migrations)

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


def migration_sql(migrations: str, revision: str) -> str:
    """Return the SQL of one migration.

    Args:
        migrations: package of the migrations.
        revision: of the migration.

    Raises:
        MigrationError: the migration asks the database, so its SQL cannot be known beforehand.
    """
    from alembic import command  # noqa: PLC0415

    order = revisions_of(migrations).order
    place = order.index(revision)
    parent = order[place - 1] if place else "base"
    written = io.StringIO()
    try:
        command.upgrade(_config(migrations, written), f"{parent}:{revision}", sql=True)
    except Exception as error:
        raise MigrationError(
            f"The SQL of migration {revision} cannot be shown: it asks the database "
            f"({type(error).__name__})."
        ) from error
    return written.getvalue()


def _config(migrations: str, output: io.StringIO | None = None) -> Any:
    from alembic.config import Config  # noqa: PLC0415

    config = Config(output_buffer=output)
    config.set_main_option("script_location", str(folder_of(migrations)).replace("%", "%%"))
    config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    config.set_main_option("path_separator", "os")
    return config


__all__ = ["MigrationError", "migration_sql", "run_command"]
