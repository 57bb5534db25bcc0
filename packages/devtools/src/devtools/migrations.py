"""Which migrations wait in the services' databases, and running them when the system starts."""

import asyncio
import sys

import asyncpg

from devtools.databases import DatabaseSetupError, connect
from devtools.project import ROOT
from devtools.services import Service
from service_platform.revisions import VERSION_TABLE, MigrationsError, folder_of, revisions_of


async def waiting(service: Service, url: str) -> list[str]:
    """Name the migrations that a service's code has and its database lacks, oldest first.

    Asks as little as possible: loading Alembic to find out takes longer than starting a service.

    Args:
        service: whose.
        url: of its database.

    Raises:
        DatabaseSetupError: the database cannot be asked, or the migrations cannot be read.
    """
    connection = await connect(url)
    try:
        current = await connection.fetchval(f"SELECT version_num FROM {VERSION_TABLE}")  # noqa: S608
    except asyncpg.UndefinedTableError:
        current = None
    finally:
        await connection.close()
    package = f"{service.name}.migrations"
    # The files may have changed since this process read them.
    revisions_of.cache_clear()
    try:
        known = revisions_of(package)
    except MigrationsError as error:
        raise DatabaseSetupError(str(error)) from None
    missing = known.pending(current)
    files = {path.stem.partition("_")[0]: path.stem for path in folder_of(package).glob("*/*.py")}
    return [files.get(revision, revision) for revision in known.order[len(known.order) - missing :]]


async def migrate(service: Service, environment: dict[str, str]) -> str:
    """Bring a service's database up to date; returns what was said about it.

    Raises:
        DatabaseSetupError: with the migration's own sentence.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "service_platform.database.migrate", service.name, "up",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=ROOT,
        env=environment,
    )  # fmt: skip
    try:
        output, _ = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    said = output.decode(errors="replace").strip()
    if process.returncode != 0:
        last = said.splitlines()[-1].strip() if said else "it said nothing."
        raise DatabaseSetupError(f"Migrating {service.name} failed: {last}")
    return said
