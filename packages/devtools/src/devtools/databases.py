"""Makes one database and one role for each service, on a server of ours or one that was named.

On a server that somebody named there may be roles and databases of others. Ours bear a mark, a
comment with this checkout's id; what has another or none is never changed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import asyncpg

from devtools.addresses import read_url, url_of, without_password
from devtools.credentials import Credentials
from devtools.errors import CommandError
from devtools.project import state_dir
from devtools.services import SERVICES, Service
from service_platform.connection_urls import PostgresUrl

MARK: Final = "Made by ./dev"
CONNECT_SECONDS: Final = 10.0


class DatabaseSetupError(CommandError):
    """The databases cannot be made ready; the message is one sentence."""


@dataclass(frozen=True, slots=True)
class _Found:
    """What there is on the server under a service's name."""

    role: bool
    role_mark: str
    owner: str | None
    database_mark: str


async def make(
    services: Sequence[Service], server_url: str, keys: Credentials, *, ours: bool = False
) -> None:
    """Make what is missing of roles and databases; nothing is changed when one is somebody else's.

    Args:
        services: whose.
        server_url: any database of the server, for a role that may make roles and databases.
        keys: where the passwords are kept.
        ours: the server is one that `./dev` started, so all of it is ours.

    Raises:
        DatabaseSetupError: the server cannot be reached, the role may not, or a role or database
            of a service's name was not made by this checkout's `./dev`.
    """
    server = read_url("DATABASE_URL", server_url, PostgresUrl)
    _require_servers_own(server)
    connection = await connect(server_url)
    try:
        await _require_rights(connection)
        found = {service: await _look(connection, service) for service in services}
        accepted = {service: await _accepts(url_of(service, server_url, keys)) for service in found}
        mark = f"{MARK} ({keys.secret('mark')[:16]}) in {state_dir().parent}"
        if not ours:
            for service, there in found.items():
                _require_ours(service, there, mark, server, accepted=accepted[service])
        for service, there in found.items():
            password = "" if accepted[service] else keys.secret(f"{service.name}.database")
            await _make_one(connection, service, there, password, mark)
    except asyncpg.PostgresError as error:
        raise DatabaseSetupError(f"PostgreSQL refused to make a database: {error}.") from None
    finally:
        await connection.close()


async def connect(url: str) -> "asyncpg.Connection":
    """Connect to a database.

    Raises:
        DatabaseSetupError: with the address, without its password.
    """
    parsed = read_url("DATABASE_URL", url, PostgresUrl)
    try:
        return await asyncpg.connect(**parsed.connect_arguments(CONNECT_SECONDS, {}))
    except (asyncpg.InvalidPasswordError, asyncpg.InvalidAuthorizationSpecificationError):
        reason = "refuses this user or password"
    except asyncpg.InvalidCatalogNameError:
        reason = "has no such database"
    except (OSError, TimeoutError):
        reason = "cannot be reached"
    except (asyncpg.PostgresError, asyncpg.InterfaceError, ValueError):
        reason = "does not accept a connection"
    raise DatabaseSetupError(f"PostgreSQL at {without_password(url)} {reason}.") from None


def _require_servers_own(server: PostgresUrl) -> None:
    """Refuse an address of one service, from which the others would have to be made."""
    for service in SERVICES:
        for kind, name in (("role", server.user), ("database", server.database)):
            if name == service.name:
                raise DatabaseSetupError(
                    f"DATABASE_URL names the {kind} of {service.name}, but each service gets its "
                    "own of both; name a role that may make them and another database, such as "
                    "postgres."
                )


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


async def _look(connection: "asyncpg.Connection", service: Service) -> _Found:
    role = await connection.fetchrow(
        "SELECT shobj_description(oid, 'pg_authid') AS mark FROM pg_roles WHERE rolname = $1",
        service.name,
    )
    database = await connection.fetchrow(
        "SELECT pg_get_userbyid(datdba) AS owner, shobj_description(oid, 'pg_database') AS mark "
        "FROM pg_database WHERE datname = $1",
        service.name,
    )
    return _Found(
        role=role is not None,
        role_mark=(role["mark"] or "") if role else "",
        owner=database["owner"] if database else None,
        database_mark=(database["mark"] or "") if database else "",
    )


def _require_ours(
    service: Service, found: _Found, mark: str, server: PostgresUrl, *, accepted: bool
) -> None:
    """Refuse what this checkout did not make; the password it made is as good as the mark."""
    name = service.name
    role_is_ours = found.role and (accepted or _same(found.role_mark, mark))
    if found.role and not role_is_ours:
        other = " of another checkout" if found.role_mark.startswith(MARK) else ""
        foreign = f"has a role {name}{other}"
    elif found.owner is not None and not (role_is_ours and found.owner == name):
        foreign = f"has a database {name} that belongs to {found.owner}"
    else:
        return
    raise DatabaseSetupError(
        f"PostgreSQL at {server} {foreign}, which this checkout did not make; use a server of "
        f'your own, or remove it there: DROP DATABASE "{name}"; DROP ROLE "{name}".'
    )


def _same(found: str, mark: str) -> bool:
    """Compare marks by their ids alone: a checkout may be moved."""
    return found.startswith(MARK) and found.partition(")")[0] == mark.partition(")")[0]


async def _make_one(
    connection: "asyncpg.Connection", service: Service, found: _Found, password: str, mark: str
) -> None:
    """Make or complete one service's role and database; no password where it has the right one."""
    name, comment = f'"{service.name}"', mark.replace("'", "''")
    if not found.role:
        await connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{password}'")
    elif password:
        await connection.execute(f"ALTER ROLE {name} LOGIN PASSWORD '{password}'")
    if not _same(found.role_mark, mark):
        await connection.execute(f"COMMENT ON ROLE {name} IS '{comment}'")
    if found.owner is None:
        # Who is no superuser can give a database only to a role it belongs to.
        await connection.execute(f"GRANT {name} TO CURRENT_USER")
        await connection.execute(f"CREATE DATABASE {name} OWNER {name}")
        await connection.execute(f"REVOKE ALL ON DATABASE {name} FROM PUBLIC")
    if not _same(found.database_mark, mark):
        await connection.execute(f"COMMENT ON DATABASE {name} IS '{comment}'")


async def _accepts(url: str) -> bool:
    parsed = read_url("DATABASE_URL", url, PostgresUrl)
    try:
        connection = await asyncpg.connect(**parsed.connect_arguments(CONNECT_SECONDS, {}))
    except asyncpg.InvalidCatalogNameError:
        return True  # the password was right, the database is made next
    except (asyncpg.PostgresError, OSError, TimeoutError):
        return False
    await connection.close()
    return True
