"""A real PgBouncer with pool_mode=transaction and fewer connections than there are clients."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from shop.models import Product
from sqlalchemy import bindparam, func, insert, select, text

from service_platform.database import Database, migrate
from service_platform.resources import HealthCheckError
from service_platform.settings import PlatformSettings
from service_testing.errors import LocalServerError
from service_testing.pgbouncer import LocalPgBouncer, pgbouncer_program
from service_testing.postgres import LocalPostgres

PASSWORD = "shop"
CLIENTS = 16
SERVER_CONNECTIONS = 3
STOCK = select(Product.stock).where(Product.name == bindparam("name"))


def is_missing() -> str:
    try:
        pgbouncer_program()
    except LocalServerError as error:
        return str(error)
    return ""


pytestmark = pytest.mark.skipif(bool(is_missing()), reason=is_missing() or "installed")


@pytest.fixture
def pgbouncer(own_postgres: LocalPostgres, tmp_path: Path) -> Iterator[LocalPgBouncer]:
    own_postgres.create_role("shop", PASSWORD)
    own_postgres.create_database("shop", owner="shop")
    pooler = LocalPgBouncer(
        tmp_path / "pgbouncer",
        own_postgres,
        role="shop",
        password=PASSWORD,
        pool_size=SERVER_CONNECTIONS,
    )
    pooler.start()
    yield pooler
    pooler.remove()


@pytest.fixture
def settings(pgbouncer: LocalPgBouncer) -> PlatformSettings:
    return PlatformSettings(
        _env_file=None,
        environment="test",
        database_url=pgbouncer.url,
        database_pooler="transaction",
        database_pool_size=2,
    )


@pytest.fixture(params=[True, False], ids=["accelerated", "plain"])
async def replicas(
    settings: PlatformSettings, request: pytest.FixtureRequest
) -> AsyncIterator[list[Database]]:
    """Eight processes' worth of pools on a migrated database."""
    await migrate.up("shop", settings)
    told = settings.model_copy(update={"acceleration": request.param})
    made = [Database(told, migrations="shop.migrations") for _ in range(8)]
    yield made
    for database in made:
        await database.stop()


async def test_many_clients_write_and_read_over_few_connections(
    replicas: list[Database], own_postgres: LocalPostgres
) -> None:
    async def client(number: int) -> None:
        database = replicas[number % len(replicas)]
        for turn in range(25):
            name = f"{number}-{turn}"
            async with database.session() as session:
                await session.execute(insert(Product).values(name=name, stock=turn, tags=["a"]))
                await asyncio.sleep(random.uniform(0, 0.003))
                await session.commit()
            assert await database.reader.scalar(STOCK, {"name": name}) == turn
            await database.check()

    await asyncio.gather(*(client(number) for number in range(CLIENTS)))
    total = select(func.count()).select_from(Product)
    assert await replicas[0].reader.scalar(total) == CLIENTS * 25
    sessions = own_postgres.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE usename = 'shop'",
    )
    assert int(sessions) <= SERVER_CONNECTIONS


async def test_processes_that_migrate_at_once_need_few_connections(
    settings: PlatformSettings,
) -> None:
    before = await asyncio.gather(*(migrate.up("shop", settings) for _ in range(6)))
    assert sorted(status.pending for status in before) == [0, 0, 0, 0, 0, 2]


async def test_nothing_of_a_session_is_left_for_the_next_client(
    replicas: list[Database], own_postgres: LocalPostgres
) -> None:
    await replicas[0].check()
    leftovers = text("SELECT count(*) FROM pg_prepared_statements")
    async with replicas[1].engine.connect() as connection:
        assert await connection.scalar(leftovers) <= 1  # that of this statement itself
        for name, value in [("lock_timeout", "0"), ("statement_timeout", "0")]:
            assert await connection.scalar(text(f"SHOW {name}")) == value
    assert own_postgres.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == "0"


async def test_health_finds_that_the_server_behind_it_became_a_standby(
    blank_postgres: Path, tmp_path: Path
) -> None:
    wal = {"wal_level": "replica", "max_wal_senders": "2"}
    server = LocalPostgres(tmp_path / "moving", durable=False, settings=wal, copy_of=blank_postgres)
    server.start()
    server.create_role("shop", PASSWORD)
    server.create_database("shop", owner="shop")
    pooler = LocalPgBouncer(tmp_path / "pooler", server, role="shop", password=PASSWORD)
    pooler.start()
    told = PlatformSettings(
        _env_file=None,
        environment="test",
        database_url=pooler.url,
        database_pooler="transaction",
    )
    await migrate.up("shop", told)
    database = Database(told, migrations="shop.migrations")
    try:
        await database.check()
        server.stop()
        (server.data_dir / "standby.signal").touch()
        server.start()
        reasons = set()
        for _ in range(20):  # the client's connection stays, the pooler makes a new one behind it
            try:
                await database.check()
            except HealthCheckError as error:
                reasons.add(error.reason)
            await asyncio.sleep(0.1)
        assert "database_read_only" in reasons
        (server.data_dir / "standby.signal").unlink()
        server.restart()
        async with asyncio.timeout(20):
            while True:
                try:
                    await database.check()
                    break
                except HealthCheckError:
                    await asyncio.sleep(0.1)
    finally:
        await database.stop()
        pooler.remove()
        server.remove()
