import asyncio

import pytest
from httpx2 import AsyncClient, Response
from shop.models import Product
from sqlalchemy import func, select, text

from service_platform.database import Database
from service_platform.idempotency import forget_keys
from service_testing.sql_log import SqlLog

PATH = "/api/v1/products"


async def create(client: AsyncClient, key: str | None, name: str = "chair") -> Response:
    headers = {} if key is None else {"idempotency-key": key}
    return await client.post(PATH, json={"name": name}, headers=headers)


async def count(database: Database) -> int | None:
    return await database.reader.scalar(select(func.count()).select_from(Product))


async def test_the_same_request_is_answered_again_and_carried_out_once(
    client: AsyncClient, database: Database
) -> None:
    first = await create(client, "key-1")
    again = await create(client, "key-1")
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert again.headers["location"] == first.headers["location"]
    assert again.headers["content-type"] == "application/json"
    assert again.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers
    assert "x-not-kept" not in again.headers
    assert await count(database) == 1


async def test_requests_without_a_key_have_nothing_to_do_with_each_other(
    client: AsyncClient, database: Database
) -> None:
    assert (await create(client, None, "a")).status_code == 201
    assert (await create(client, None, "b")).status_code == 201
    assert await count(database) == 2


async def test_a_key_used_with_another_body_is_refused(client: AsyncClient) -> None:
    await create(client, "key-1", "chair")
    other = await create(client, "key-1", "table")
    assert other.status_code == 422
    assert other.json()["error"] == "idempotency_key_reused"


async def test_of_concurrent_requests_one_is_carried_out_and_the_others_get_its_answer(
    client: AsyncClient, database: Database
) -> None:
    answers = await asyncio.gather(*(create(client, "key-1") for _ in range(8)))
    assert {answer.status_code for answer in answers} <= {201, 409}
    created = [answer for answer in answers if answer.status_code == 201]
    assert sum("idempotency-replayed" not in answer.headers for answer in created) == 1
    assert await count(database) == 1


async def test_while_the_first_request_takes_long_the_second_is_told_to_come_back(
    client: AsyncClient, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service_platform.idempotency.WAITS_SECONDS", (0.01, 0.01))
    async with database.session() as blocker:
        await blocker.execute(text("LOCK TABLE products IN EXCLUSIVE MODE"))
        first = asyncio.create_task(create(client, "key-1"))
        claims = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")
        while await blocker.scalar(claims) == 0:  # noqa: ASYNC110 - the database has no event for it
            await asyncio.sleep(0.01)
        second = await create(client, "key-1")
        await blocker.rollback()
    assert second.status_code == 409
    assert second.json()["error"] == "idempotency_conflict"
    assert second.headers["retry-after"] == "1"
    assert (await first).status_code == 201
    assert (await create(client, "key-1")).headers["idempotency-replayed"] == "true"


async def test_a_failed_request_may_be_sent_again_with_its_key(
    client: AsyncClient, database: Database
) -> None:
    await create(client, None, "chair")
    assert (await create(client, "key-1", "chair")).status_code == 409
    async with database.engine.begin() as connection:
        await connection.execute(text("DELETE FROM products"))
    assert (await create(client, "key-1", "chair")).status_code == 201


async def test_quotes_around_a_key_are_not_part_of_it(
    client: AsyncClient, database: Database
) -> None:
    await create(client, "key-1")
    assert "idempotency-replayed" in (await create(client, '"key-1"')).headers


@pytest.mark.parametrize("key", ["", '""', "with space", "x" * 256, "\x7f"])
async def test_a_key_that_is_none_is_refused(client: AsyncClient, key: str) -> None:
    assert (await create(client, key)).status_code == 400


async def test_an_expired_key_may_be_used_for_another_request(
    client: AsyncClient, database: Database
) -> None:
    await create(client, "key-1", "chair")
    await expire(database)
    answer = await create(client, "key-1", "table")
    assert answer.status_code == 201
    assert "idempotency-replayed" not in answer.headers
    assert (await create(client, "key-1", "table")).headers["idempotency-replayed"] == "true"
    assert await count(database) == 2


async def test_expired_keys_are_removed_faster_than_new_ones_come(
    client: AsyncClient, database: Database
) -> None:
    for number in range(6):
        await create(client, f"old-{number}", f"old {number}")
    await expire(database)
    for number in range(3):
        await create(client, f"new-{number}", f"new {number}")
    async with database.engine.connect() as connection:
        keys = set(await connection.scalars(text("SELECT key FROM idempotency_keys")))
    assert keys == {"new-0", "new-1", "new-2"}


async def test_the_keys_of_a_closed_account_are_forgotten(
    client: AsyncClient, database: Database
) -> None:
    await create(client, "key-1")
    async with database.session() as session:
        await forget_keys(session, "somebody")
        await session.commit()
    async with database.engine.connect() as connection:
        assert await connection.scalar(text("SELECT count(*) FROM idempotency_keys")) == 0


async def test_a_key_costs_two_statements(client: AsyncClient, sql_log: SqlLog) -> None:
    await create(client, "key-1", "a")
    sql_log.clear()
    await create(client, "key-2", "b")
    kinds = [statement.split()[0].strip(";") for statement in sql_log.statements()]
    assert kinds == ["BEGIN", "WITH", "INSERT", "UPDATE", "COMMIT"]


async def expire(database: Database) -> None:
    async with database.engine.begin() as connection:
        await connection.execute(
            text("UPDATE idempotency_keys SET expires_at = now() - interval '1 second'")
        )
