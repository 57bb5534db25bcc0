"""The primary moves: the address comes to mean another server, the old one is a standby."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import httpx2
import pytest
from shop.models import Product
from sqlalchemy import func, insert, select
from sqlalchemy.exc import SQLAlchemyError

from service_platform.database import Database, DatabaseUnavailableError
from service_platform.database.connector import Connector
from service_platform.errors import ServiceUnavailable
from service_platform.errors.database import database_problem, sqlstate
from service_platform.resources import HealthCheckError
from service_platform.settings import PlatformSettings
from service_testing.databases import migrate
from service_testing.postgres import LocalPostgres
from service_testing.services import RunningService
from service_testing.tcp_proxy import TcpProxy

WITHIN_SECONDS = 5.0
WAL_OF_A_STANDBY = {"wal_level": "replica", "max_wal_senders": "2"}
PASSWORD = "shop"


@pytest.fixture(scope="module")
def migrated(blank_postgres: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a server that has the shop's database."""
    directory = tmp_path_factory.mktemp("migrated") / "postgres"
    server = LocalPostgres(
        directory, durable=False, settings=WAL_OF_A_STANDBY, copy_of=blank_postgres
    )
    server.start()
    server.create_role("shop", PASSWORD)
    server.create_database("shop", owner="shop")
    migrate("shop", server.url_for("shop", user="shop", password=PASSWORD))
    server.stop()
    return directory


@pytest.fixture
def old_primary(migrated: Path, tmp_path: Path) -> Iterator[LocalPostgres]:
    server = LocalPostgres(
        tmp_path / "old", durable=False, settings=WAL_OF_A_STANDBY, copy_of=migrated
    )
    server.start()
    yield server
    server.remove()


@pytest.fixture
def new_primary(migrated: Path, tmp_path: Path) -> Iterator[LocalPostgres]:
    """A server with the same history as the old primary."""
    server = LocalPostgres(
        tmp_path / "new", durable=False, settings=WAL_OF_A_STANDBY, copy_of=migrated
    )
    server.start()
    yield server
    server.remove()


@pytest.fixture
async def proxy(old_primary: LocalPostgres) -> AsyncIterator[TcpProxy]:
    async with TcpProxy(old_primary.port) as opened:
        yield opened


@pytest.fixture
def settings(proxy: TcpProxy) -> PlatformSettings:
    return PlatformSettings(
        _env_file=None,
        environment="test",
        database_url=f"postgresql://shop:{PASSWORD}@127.0.0.1:{proxy.port}/shop",
    )


@pytest.fixture
async def moving(settings: PlatformSettings) -> AsyncIterator[Database]:
    """The database whose primary moves."""
    database = Database(settings, migrations="shop.migrations")
    yield database
    await database.stop()


@pytest.fixture
def make_standby(old_primary: LocalPostgres) -> Callable[[], None]:
    """Restarts the old primary as a standby."""

    def restart() -> None:
        old_primary.stop()
        (old_primary.data_dir / "standby.signal").touch()
        old_primary.start()

    return restart


async def add_product(database: Database, name: str) -> None:
    """A write as a request does it, which is not tried again."""
    async with database.session() as session:
        await session.execute(insert(Product).values(name=name, stock=1, tags=[]))
        await session.commit()


async def refusal(database: Database, name: str) -> SQLAlchemyError | None:
    try:
        await add_product(database, name)
    except SQLAlchemyError as error:
        return error
    return None


async def count(server: LocalPostgres) -> int:
    url = server.url_for("shop")
    return int(await asyncio.to_thread(server.execute, "SELECT count(*) FROM products", url=url))


async def succeeds(database: Database, name: str) -> None:
    """Write until it succeeds; what fails before is worth another try."""
    async with asyncio.timeout(WITHIN_SECONDS):
        while (error := await refusal(database, name)) is not None:
            assert isinstance(database_problem(error), ServiceUnavailable)


async def test_a_standby_is_not_connected_to_and_health_says_so(
    moving: Database,
    settings: PlatformSettings,
    new_primary: LocalPostgres,
    make_standby: Callable[[], None],
    proxy: TcpProxy,
) -> None:
    await add_product(moving, "before")
    await asyncio.to_thread(make_standby)
    with pytest.raises(HealthCheckError, match="database_read_only"):
        await moving.check()
    with pytest.raises(DatabaseUnavailableError, match="read_only"):
        await add_product(moving, "refused")
    with pytest.raises(DatabaseUnavailableError, match="read_only"):
        await Connector(settings).connect()  # as pollers with a connection of their own do
    proxy.target = new_primary.port
    await succeeds(moving, "after")
    await moving.check()
    assert await count(new_primary) == 1


async def test_after_one_refused_write_every_connection_is_replaced(
    moving: Database, old_primary: LocalPostgres, new_primary: LocalPostgres, proxy: TcpProxy
) -> None:
    await asyncio.gather(*(add_product(moving, f"before {n}") for n in range(5)))
    old_primary.execute(
        "ALTER SYSTEM SET default_transaction_read_only = on; SELECT pg_reload_conf()"
    )
    proxy.target = new_primary.port
    refused = None
    async with asyncio.timeout(WITHIN_SECONDS):
        numbers = itertools.count()
        while refused is None:  # a connection hears of the new configuration in a moment
            refused = await refusal(moving, f"refused {next(numbers)}")
    assert sqlstate(refused) == "25006"
    assert isinstance(database_problem(refused), ServiceUnavailable)
    await asyncio.gather(*(add_product(moving, f"after {n}") for n in range(5)))
    assert await count(new_primary) == 5


@pytest.mark.parametrize("attribute", ["any", "standby"])
async def test_a_standby_can_be_asked_for(
    attribute: str,
    settings: PlatformSettings,
    old_primary: LocalPostgres,
    make_standby: Callable[[], None],
) -> None:
    await asyncio.to_thread(make_standby)
    url = f"{settings.database_url.get_secret_value()}?target_session_attrs={attribute}"
    database = Database(
        PlatformSettings(_env_file=None, environment="test", database_url=url),
        migrations="shop.migrations",
    )
    await database.check()
    assert await database.reader.scalar(select(func.count()).select_from(Product)) == 0
    await database.stop()


async def test_of_several_hosts_the_primary_is_found(
    old_primary: LocalPostgres, new_primary: LocalPostgres, make_standby: Callable[[], None]
) -> None:
    await asyncio.to_thread(make_standby)
    hosts = f"127.0.0.1:{old_primary.port},127.0.0.1:{new_primary.port}"
    settings = PlatformSettings(
        _env_file=None,
        environment="test",
        database_url=f"postgresql://shop:{PASSWORD}@{hosts}/shop",
    )
    database = Database(settings, migrations="shop.migrations")
    await add_product(database, "found")
    await database.stop()
    assert await count(new_primary) == 1


def test_a_process_without_its_database_stays_ready_and_answers_503(
    running_service: Callable[..., RunningService], old_primary: LocalPostgres
) -> None:
    url = old_primary.url_for("shop", user="shop", password=PASSWORD)
    process = running_service(DATABASE_URL=url)
    old_primary.stop()
    with httpx2.Client(base_url=process.url, trust_env=False) as client:
        for _ in range(4):  # longer than a round of checks is kept
            answer = client.get("/api/v1/products")
            assert answer.status_code == 503
            assert int(answer.headers["retry-after"]) > 0
            assert client.get("/health/ready").status_code == 200
            time.sleep(0.5)
        report = client.get("/health")
        assert report.status_code == 503
        assert report.json()["checks"]["database"]["reason"] == "database_unavailable"
        old_primary.start()
        deadline = time.monotonic() + WITHIN_SECONDS
        while client.get("/api/v1/products").status_code != 200:
            assert time.monotonic() < deadline


def test_a_process_that_never_reached_its_database_is_not_ready(
    running_service: Callable[..., RunningService], old_primary: LocalPostgres
) -> None:
    old_primary.stop()
    url = old_primary.url_for("shop", user="shop", password=PASSWORD)
    process = running_service(wait=False, DATABASE_URL=url)
    with httpx2.Client(base_url=process.url, trust_env=False) as client:
        deadline = time.monotonic() + 20
        while True:
            try:
                ready = client.get("/health/ready")
            except httpx2.TransportError:
                ready = None
            if ready is not None and ready.json().get("reason") == "database_unavailable":
                break
            assert time.monotonic() < deadline
            time.sleep(0.05)
        old_primary.start()
        process.wait_until_ready()
