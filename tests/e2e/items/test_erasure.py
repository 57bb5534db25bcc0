"""Closing an account that owns very many items."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from tests.e2e.answers import eventually
from tests.e2e.people import Person
from tests.e2e.system import StartedSystem

from items.settings import ItemsSettings
from service_platform.database import Database
from service_testing.postgres import LocalPostgres

ITEMS = 100_000 if os.environ.get("FULL_SCALE") else 25_000
# How many items each transaction deleted.
RECORD_DELETED = """
    CREATE TABLE deleted (transaction xid8, count int);
    CREATE FUNCTION record_deleted() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO deleted SELECT pg_current_xact_id(), count(*) FROM gone;
        RETURN NULL;
    END $$;
    CREATE TRIGGER record_deleted AFTER DELETE ON items REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION record_deleted();
"""
FORGET_DELETED = """
    DROP TRIGGER record_deleted ON items;
    DROP FUNCTION record_deleted;
    DROP TABLE deleted;
"""
LONGEST_TRANSACTION = """
    SELECT coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0)::float8
    FROM pg_stat_activity WHERE xact_start IS NOT NULL AND datname = current_database()
    AND backend_type = 'client backend' AND pid <> pg_backend_pid()
"""


@pytest.fixture
def two_replicas(started: StartedSystem) -> Iterator[StartedSystem]:
    """The system with a second process of items, which erases, too."""
    (second,) = started.start("items")
    second.wait_until_ready()
    yield started
    started.restore()


@pytest.fixture
def database_of_items(two_replicas: StartedSystem, postgres_server: LocalPostgres) -> Iterator[str]:
    """The address of the database in which every deletion is recorded."""
    url = two_replicas.database_url("items")
    postgres_server.execute(RECORD_DELETED, url=url)
    yield url
    postgres_server.execute(FORGET_DELETED, url=url)


async def test_closing_an_account_erases_all_of_many_items_in_short_transactions(
    two_replicas: StartedSystem,
    postgres_server: LocalPostgres,
    database_of_items: str,
    ada: Person,
    eve: Person,
) -> None:
    owned = f"SELECT count(*) FROM items WHERE owner_id = '{ada.account['id']}'"
    postgres_server.execute(
        "INSERT INTO items (id, owner_id, name) "
        f"SELECT gen_random_uuid(), '{ada.account['id']}', 'thing' "
        f"FROM generate_series(1, {ITEMS})",
        url=database_of_items,
    )
    kept = await eve.send("items", "POST", "/items", json={"name": "a"})
    assert kept.status_code == 201, kept.text

    async with longest_transaction(two_replicas) as longest:
        began = time.perf_counter()
        assert (await ada.send("auth", "DELETE", "/auth/me")).status_code == 204
        took = time.perf_counter() - began
        async with asyncio.timeout(45):
            while await count(postgres_server, database_of_items, owned):  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    per_transaction = "(SELECT sum(count) AS sum FROM deleted GROUP BY transaction) AS batches"
    deleted = f"SELECT sum(sum) FROM {per_transaction}"
    largest = f"SELECT max(sum) FROM {per_transaction}"
    assert await count(postgres_server, database_of_items, deleted) == ITEMS
    assert await count(postgres_server, database_of_items, largest) <= 1_000, "bounded"
    assert 0 < max(longest) < 1.0
    assert took < 1.0
    await eventually(ada, "items", "/items", 401)
    late = await ada.send("items", "POST", "/items", json={"name": "late"})
    assert late.status_code == 401
    place = kept.headers["location"].removeprefix("/api/v1")
    assert (await eve.send("items", "GET", place)).status_code == 200


async def count(server: LocalPostgres, url: str, query: str) -> int:
    """The one number that a query finds."""
    return int(await asyncio.to_thread(server.execute, query, url=url))


@asynccontextmanager
async def longest_transaction(system: StartedSystem) -> AsyncIterator[list[float]]:
    """Ages of the oldest open transaction of items, in seconds, looked at again and again."""
    settings = ItemsSettings(database_url=system.database_url("items"), environment="test")
    database = Database(settings, migrations="items.migrations")
    ages: list[float] = []

    async def look() -> None:
        async with database.engine.connect() as connection:
            while True:
                age = await connection.exec_driver_sql(LONGEST_TRANSACTION)
                ages.append(age.scalar_one())
                await connection.rollback()
                await asyncio.sleep(0.01)

    looking = asyncio.create_task(look())
    try:
        yield ages
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
        await database.stop()
