"""A page is read from where the last one ended, however deep it is."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from httpx2 import AsyncClient
from sqlalchemy import BigInteger, literal_column, select, text

from service_platform.database import Database
from service_platform.ids import new_id

# Statistics are those of a test alone only where its database is.
from service_testing.plugin import database_url, redis_url, service_environment
from service_testing.tokens import TestTokens

__all__ = ["database_url", "redis_url", "service_environment"]

MakeClient = Callable[..., AbstractAsyncContextManager[AsyncClient]]
ITEMS = "/api/v1/items"

MANY = text(
    """
    INSERT INTO items (id, owner_id, name, price, tags, created_at, updated_at)
    SELECT gen_random_uuid(), :owner, 'Item ' || n, n % 500, ARRAY['tag' || n % 50],
           now() - n * interval '1 second', now() - n * interval '1 second'
    FROM generate_series(1, 20000) AS n
    """
)


PAGES = 30
ROWS_READ = select(
    literal_column("coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0)", BigInteger)
).select_from(text("pg_stat_user_tables WHERE relname = 'items'"))


@pytest.mark.parametrize("sort", ["-created_at", "updated_at", "name", "-price"])
async def test_a_deep_page_is_read_from_where_the_last_one_ended(
    make_client: MakeClient, database: Database, tokens: TestTokens, sort: str
) -> None:
    """Told by the rows PostgreSQL looks at, not by a clock."""
    owner = new_id()
    async with database.session() as session:
        await session.execute(MANY, {"owner": owner})
        await session.execute(text("ANALYZE items"))
        await session.commit()
    headers = tokens.headers(owner)
    query: dict[str, Any] = {"sort": sort, "limit": 100}
    async with make_client() as client:
        for _ in range(PAGES):
            page = (await client.get(ITEMS, params=query, headers=headers)).json()
            query["cursor"] = page["next_cursor"]
    assert await rows_looked_at(database, at_least=PAGES * 101) <= PAGES * 103


async def rows_looked_at(database: Database, at_least: int) -> int:
    """Rows of items that were read so far; connections tell it some time after they close."""
    async with asyncio.timeout(10):
        while True:
            rows = await database.reader.scalar(ROWS_READ)
            if rows is not None and rows >= at_least:
                return rows
            await asyncio.sleep(0.05)
