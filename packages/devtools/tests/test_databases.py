import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from devtools.addresses import url_of, without_password
from devtools.credentials import Credentials
from devtools.databases import DatabaseSetupError, make
from devtools.migrations import migrate, waiting
from devtools.services import AUTH, chosen
from service_testing.postgres import LocalPostgres

DROP_ALL = r"""
SELECT format('DROP DATABASE %I WITH (FORCE)', datname) FROM pg_database WHERE oid >= 16384 \gexec
SELECT format('DROP ROLE %I', rolname) FROM pg_roles WHERE oid >= 16384 ORDER BY oid DESC \gexec
"""


@pytest.fixture(scope="module")
def server(
    blank_postgres: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalPostgres]:
    directory = tmp_path_factory.mktemp("server") / "postgres"
    started = LocalPostgres(directory, durable=False, copy_of=blank_postgres)
    started.start()
    yield started
    started.remove()


@pytest.fixture
def own_postgres(server: LocalPostgres) -> Iterator[LocalPostgres]:
    """A PostgreSQL without databases and roles of anybody."""
    yield server
    server.execute(DROP_ALL)


@pytest.fixture
def keys(tmp_path: Path) -> Credentials:
    return Credentials(tmp_path)


def test_an_address_keeps_the_servers_options(keys: Credentials) -> None:
    url = url_of(AUTH, "postgresql://root:secret@db.example:6432/postgres?sslmode=require", keys)
    parts = urlsplit(url)
    assert (parts.username, parts.hostname, parts.port) == ("auth", "db.example", 6432)
    assert (parts.path, parts.query) == ("/auth", "sslmode=require")
    assert "secret" not in url


def test_a_shown_address_has_no_password() -> None:
    shown = without_password("postgresql://me:secret@host:1/db?password=secret")
    assert shown == "postgresql://me@host:1/db"


async def test_databases_are_made_once_and_then_used(
    own_postgres: LocalPostgres, keys: Credentials
) -> None:
    for _ in range(2):
        await make(chosen(["auth", "users"]), own_postgres.url, keys)
    assert len(await waiting(AUTH, url_of(AUTH, own_postgres.url, keys))) >= 2


async def test_a_role_without_rights_is_told_how_to_get_them(
    own_postgres: LocalPostgres, keys: Credentials
) -> None:
    own_postgres.create_role("visitor", "password")
    url = own_postgres.url_for("postgres", user="visitor", password="password")
    with pytest.raises(DatabaseSetupError, match="ALTER ROLE visitor CREATEDB CREATEROLE"):
        await make([AUTH], url, keys)


async def test_a_role_that_may_make_databases_need_not_be_superuser(
    own_postgres: LocalPostgres, keys: Credentials
) -> None:
    own_postgres.create_role("maker", "password")
    own_postgres.execute("ALTER ROLE maker CREATEDB CREATEROLE")
    url = own_postgres.url_for("postgres", user="maker", password="password")
    await make([AUTH], url, keys)
    assert len(await waiting(AUTH, url_of(AUTH, url, keys))) >= 2


async def test_a_database_of_somebody_else_is_left_alone(
    own_postgres: LocalPostgres, keys: Credentials
) -> None:
    own_postgres.create_role("somebody", "password")
    own_postgres.create_database("auth", owner="somebody")
    with pytest.raises(DatabaseSetupError, match="belongs to somebody"):
        await make([AUTH], own_postgres.url, keys)
    assert own_postgres.execute("SELECT 1 FROM pg_roles WHERE rolname = 'auth'") == ""


def state_of(server: LocalPostgres) -> str:
    """Everything `make` could change of others, passwords included."""
    return server.execute(
        "SELECT rolname, rolpassword, shobj_description(oid, 'pg_authid') FROM pg_authid "
        "WHERE rolname IN ('auth', 'users') ORDER BY 1; "
        "SELECT datname, datacl, shobj_description(oid, 'pg_database') FROM pg_database ORDER BY 1"
    )


async def test_roles_and_databases_of_others_are_refused_and_nothing_is_changed(
    own_postgres: LocalPostgres, keys: Credentials
) -> None:
    own_postgres.create_role("auth", "somebody's own")
    own_postgres.create_database("auth", owner="auth")
    before = state_of(own_postgres)
    with pytest.raises(DatabaseSetupError, match="has a role auth, which this checkout did not"):
        await make(chosen(["auth", "users"]), own_postgres.url, keys)
    assert state_of(own_postgres) == before


async def test_what_another_checkout_made_is_not_taken_over(
    own_postgres: LocalPostgres, keys: Credentials, tmp_path: Path
) -> None:
    await make([AUTH], own_postgres.url, keys)
    before = state_of(own_postgres)
    with pytest.raises(DatabaseSetupError, match="role auth of another checkout"):
        await make([AUTH], own_postgres.url, Credentials(tmp_path / "other"))
    assert state_of(own_postgres) == before


async def test_ours_is_known_by_its_mark_or_by_its_password(
    own_postgres: LocalPostgres, keys: Credentials
) -> None:
    await make([AUTH], own_postgres.url, keys)
    url = url_of(AUTH, own_postgres.url, keys)
    own_postgres.execute("ALTER ROLE auth PASSWORD 'changed by hand'")
    await make([AUTH], own_postgres.url, keys)
    assert own_postgres.execute("SELECT 1", url=url) == "1"
    own_postgres.execute("COMMENT ON ROLE auth IS NULL; COMMENT ON DATABASE auth IS NULL")
    await make([AUTH], own_postgres.url, keys)
    assert "Made by ./dev" in state_of(own_postgres)


@pytest.mark.parametrize("place", ["auth:x@127.0.0.1/postgres", "postgres:x@127.0.0.1/users"])
async def test_the_address_of_one_service_is_refused(place: str, keys: Credentials) -> None:
    with pytest.raises(DatabaseSetupError, match="each service gets its own"):
        await make([AUTH], f"postgresql://{place}", keys)


async def test_a_failed_migration_says_why_in_one_sentence(
    own_postgres: LocalPostgres, keys: Credentials
) -> None:
    await make([AUTH], own_postgres.url, keys)
    url = url_of(AUTH, own_postgres.url, keys)
    own_postgres.execute("CREATE TABLE accounts (id int)", url=url)
    with pytest.raises(DatabaseSetupError, match=r"^Migrating auth failed: .*already exists") as it:
        await migrate(AUTH, {**os.environ, "DATABASE_URL": url})
    assert "\n" not in str(it.value)


async def test_a_migrated_database_is_not_behind(
    own_postgres: LocalPostgres, keys: Credentials
) -> None:
    await make([AUTH], own_postgres.url, keys)
    url = url_of(AUTH, own_postgres.url, keys)
    await migrate(AUTH, {**os.environ, "DATABASE_URL": url})
    assert await waiting(AUTH, url) == []


async def test_a_wrong_password_is_one_sentence(
    own_postgres: LocalPostgres, keys: Credentials
) -> None:
    url = own_postgres.url_for("postgres", password="wrong-password")
    with pytest.raises(DatabaseSetupError, match="refuses this user or password") as caught:
        await make([AUTH], url, keys)
    assert "wrong-password" not in str(caught.value)
