"""PostgreSQL's protocol over TLS, the certificate from an authority made for the tests.

The PostgreSQL of the tests is built without TLS, so a PgBouncer in front of it speaks it.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from shop.authority import Authority
from sqlalchemy import text

from service_platform.connection_urls import postgres
from service_platform.database import Database, DatabaseUnavailableError, migrate
from service_platform.settings import PlatformSettings
from service_testing.errors import LocalServerError
from service_testing.pgbouncer import LocalPgBouncer, pgbouncer_program
from service_testing.postgres import LocalPostgres

PASSWORD = "shop"


def is_missing() -> str:
    try:
        pgbouncer_program()
    except LocalServerError as error:
        return str(error)
    return ""


pytestmark = pytest.mark.skipif(bool(is_missing()), reason=is_missing() or "installed")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def authority(folder: Path) -> Authority:
    return Authority(folder / "authority")


@pytest.fixture(scope="module")
def another_authority(folder: Path) -> Authority:
    return Authority(folder / "another")


@pytest.fixture(scope="module")
def postgres_behind(folder: Path, blank_postgres: Path) -> Iterator[LocalPostgres]:
    server = LocalPostgres(folder / "postgres", durable=False, copy_of=blank_postgres)
    server.start()
    server.create_role("shop", PASSWORD)
    server.create_database("shop", owner="shop")
    yield server
    server.remove()


@pytest.fixture(scope="module")
def start_server(
    folder: Path, authority: Authority, postgres_behind: LocalPostgres
) -> Iterator[Callable[..., LocalPgBouncer]]:
    """Starts servers called localhost; 127.0.0.1 does not stand in their certificate."""
    started: list[LocalPgBouncer] = []

    def start(name: str, **settings: str) -> LocalPgBouncer:
        server = LocalPgBouncer(
            folder / name,
            postgres_behind,
            role="shop",
            password=PASSWORD,
            pool_mode="session",
            settings={
                "client_tls_cert_file": str(folder / name / "server.crt"),
                "client_tls_key_file": str(folder / name / "server.key"),
                "client_tls_ca_file": str(folder / name / "ca.crt"),
                **settings,
            },
        )
        certificate, key = authority.issue("server", x509.DNSName("localhost"))
        for file, source in (("crt", certificate), ("key", key)):
            server.add_file(f"server.{file}", source.read_bytes())
        server.add_file("ca.crt", authority.file.read_bytes())
        server.start()
        started.append(server)
        return server

    yield start
    for server in started:
        server.remove()


@pytest.fixture(scope="module")
def server(start_server: Callable[..., LocalPgBouncer]) -> LocalPgBouncer:
    """Speaks TLS only and asks for a password."""
    return start_server("by-password", client_tls_sslmode="require")


@pytest.fixture(scope="module")
def certificate_server(start_server: Callable[..., LocalPgBouncer]) -> LocalPgBouncer:
    """Speaks TLS only and asks for a client's certificate instead of a password."""
    return start_server("by-certificate", client_tls_sslmode="verify-full", auth_type="cert")


Connect = Callable[..., Database]


@pytest.fixture
async def connect(
    server: LocalPgBouncer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> AsyncIterator[Connect]:
    """Makes databases by the query of their address; nobody has files in a home directory."""
    monkeypatch.setenv("HOME", str(tmp_path))
    postgres._system_context.cache_clear()
    made: list[Database] = []

    def connect(
        query: str,
        host: str = "localhost",
        behind: LocalPgBouncer = server,
        password: str = PASSWORD,
    ) -> Database:
        url = f"postgresql://shop:{password}@{host}:{behind.port}/shop?{query}"
        made.append(Database(settings(url), migrations="shop.migrations"))
        return made[-1]

    yield connect
    for database in made:
        await database.stop()
    postgres._system_context.cache_clear()


def settings(url: str) -> PlatformSettings:
    return PlatformSettings(
        _env_file=None, environment="test", database_url=url, database_pooler="transaction"
    )


async def is_encrypted(database: Database) -> bool:
    """Ask something, and look at the connection over which that went."""
    async with database.engine.connect() as connection:
        assert await connection.scalar(text("SELECT current_user::text")) == "shop"
        raw: Any = (await connection.get_raw_connection()).driver_connection
        return raw._transport.get_extra_info("ssl_object") is not None


async def test_the_server_speaks_to_nobody_without_tls(connect: Connect) -> None:
    with pytest.raises(DatabaseUnavailableError):
        await is_encrypted(connect("sslmode=disable"))


@pytest.mark.parametrize("query", ["sslmode=verify-full", "sslrootcert=system"])
async def test_a_public_authority_needs_no_file(
    query: str, connect: Connect, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))  # what the machine trusts
    assert await is_encrypted(connect(query))


@pytest.mark.parametrize("query", ["sslmode=verify-full", "sslrootcert=system"])
async def test_an_authority_that_the_machine_does_not_know_is_refused(
    query: str, connect: Connect
) -> None:
    with pytest.raises(DatabaseUnavailableError, match="tls_failed"):
        await is_encrypted(connect(query))


async def test_an_authority_of_ones_own_is_named_by_its_file(
    connect: Connect, authority: Authority, another_authority: Authority
) -> None:
    named = f"sslmode=verify-full&sslrootcert={authority.file}"
    assert await is_encrypted(connect(named))
    with pytest.raises(DatabaseUnavailableError, match="tls_failed"):
        await is_encrypted(connect(f"sslmode=verify-full&sslrootcert={another_authority.file}"))


async def test_the_name_of_the_server_is_checked_where_it_is_asked_for(
    connect: Connect, authority: Authority
) -> None:
    file = f"sslrootcert={authority.file}"
    with pytest.raises(DatabaseUnavailableError, match="tls_failed"):
        await is_encrypted(connect(f"sslmode=verify-full&{file}", host="127.0.0.1"))
    assert await is_encrypted(connect(f"sslmode=verify-ca&{file}", host="127.0.0.1"))


@pytest.mark.parametrize("system", [True, False], ids=["system", "file"])
async def test_a_client_logs_in_by_certificate(
    system: bool,
    connect: Connect,
    certificate_server: LocalPgBouncer,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    certificate, key = authority.issue("shop")
    query = f"sslmode=verify-full&sslcert={certificate}&sslkey={key}"
    if not system:
        query += f"&sslrootcert={authority.file}"
    assert await is_encrypted(connect(query, behind=certificate_server, password=""))


async def test_without_a_certificate_of_its_authority_such_a_server_refuses(
    connect: Connect,
    certificate_server: LocalPgBouncer,
    authority: Authority,
    another_authority: Authority,
) -> None:
    query = f"sslmode=verify-full&sslrootcert={authority.file}"
    with pytest.raises(DatabaseUnavailableError):
        await is_encrypted(connect(query, behind=certificate_server))
    certificate, key = another_authority.issue("shop")
    with pytest.raises(DatabaseUnavailableError):
        await is_encrypted(
            connect(f"{query}&sslcert={certificate}&sslkey={key}", behind=certificate_server)
        )


async def test_migrations_connect_by_the_same_address(
    server: LocalPgBouncer, connect: Connect, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    url = f"postgresql://shop:{PASSWORD}@localhost:{server.port}/shop?sslmode=verify-full"
    assert (await migrate.up("shop", settings(url))).pending == 2
    await connect("sslmode=verify-full").check()
