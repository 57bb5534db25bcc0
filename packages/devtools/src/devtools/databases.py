"""One database and one role for each service, on a local PostgreSQL or on one that was named."""

import asyncio
import sys
from collections.abc import Sequence
from urllib.parse import urlsplit

import asyncpg

from devtools.addresses import url_of, without_password
from devtools.credentials import Credentials
from devtools.project import ROOT
from devtools.services import Service
from service_platform.revisions import VERSION_TABLE, MigrationsError, revisions_of


class DatabaseSetupError(Exception):
    """The databases cannot be made ready; the message is one sentence."""


async def make(services: Sequence[Service], server_url: str, keys: Credentials) -> None:
    """Make what is missing of roles and databases; existing ones stay as they are.

    Args:
        services: whose.
        server_url: any database of the server, for a role that may make roles and databases.
        keys: where the passwords are kept.

    Raises:
        DatabaseSetupError: the server cannot be reached, or the role may not.
    """
    connection = await _connect(server_url)
    try:
        await _require_rights(connection)
        for service in services:
            await _make_one(connection, service, url_of(service, server_url, keys))
    except asyncpg.PostgresError as error:
        raise DatabaseSetupError(f"PostgreSQL refused to make a database: {error}.") from None
    finally:
        await connection.close()


async def _connect(url: str) -> "asyncpg.Connection":
    try:
        return await asyncpg.connect(url, timeout=10)
    except (asyncpg.InvalidPasswordError, asyncpg.InvalidAuthorizationSpecificationError):
        reason = "refuses this user or password"
    except asyncpg.InvalidCatalogNameError:
        reason = "has no such database"
    except (OSError, TimeoutError):
        reason = "cannot be reached"
    except (asyncpg.PostgresError, asyncpg.InterfaceError, ValueError):
        reason = "does not accept a connection"
    raise DatabaseSetupError(f"PostgreSQL at {without_password(url)} {reason}.") from None


async def _require_rights(connection: "asyncpg.Connection") -> None:
    role = await connection.fetchrow(
        "SELECT rolname, rolsuper OR (rolcreatedb AND rolcreaterole) AS may "
        "FROM pg_roles WHERE rolname = current_user"
    )
    if not role["may"]:
        raise DatabaseSetupError(
            f"The role {role['rolname']} of DATABASE_URL may not make roles and databases; "
            f"name one that may, or ALTER ROLE {role['rolname']} CREATEDB CREATEROLE."
        )


async def _make_one(connection: "asyncpg.Connection", service: Service, url: str) -> None:
    name = f'"{service.name}"'
    password = urlsplit(url).password or ""
    exists = await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", service.name)
    if not exists:
        await connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{password}'")
    elif not await _accepts(url):
        await connection.execute(f"ALTER ROLE {name} LOGIN PASSWORD '{password}'")
    owner = await connection.fetchval(
        "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = $1", service.name
    )
    if owner is None:
        # Who is no superuser can give a database only to a role it belongs to.
        await connection.execute(f"GRANT {name} TO CURRENT_USER")
        await connection.execute(f"CREATE DATABASE {name} OWNER {name}")
        await connection.execute(f"REVOKE ALL ON DATABASE {name} FROM PUBLIC")
    elif owner != service.name:
        raise DatabaseSetupError(
            f"There is a database {service.name} that belongs to {owner}; use a server of your own."
        )


async def _accepts(url: str) -> bool:
    try:
        connection = await asyncpg.connect(url, timeout=10)
    except asyncpg.InvalidCatalogNameError:
        return True  # the password was right, the database is made next
    except asyncpg.PostgresError:
        return False
    await connection.close()
    return True


async def behind(service: Service, url: str) -> bool:
    """Whether a service's database lacks migrations that its code has.

    Asks as little as possible: loading Alembic to find out takes longer than starting a service.

    Raises:
        DatabaseSetupError: the database cannot be asked, or the migrations cannot be read.
    """
    connection = await _connect(url)
    try:
        current = await connection.fetchval(f"SELECT version_num FROM {VERSION_TABLE}")  # noqa: S608
    except asyncpg.UndefinedTableError:
        current = None
    finally:
        await connection.close()
    try:
        return revisions_of(f"{service.name}.migrations").pending(current) > 0
    except MigrationsError as error:
        raise DatabaseSetupError(str(error)) from None


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
