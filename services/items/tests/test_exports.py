"""Exports: all items of an account as a file."""

import asyncio
import csv
import io
import json
import os
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx2
import psutil
import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient, Response
from sqlalchemy import func, insert, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from items import export_repository
from items.erasure import Erasure
from items.export_formats import ExportFormat
from items.export_jobs import delete_expired_exports, export_items
from items.models import ClosedAccount, Export, ExportChunk, Item
from service_platform.database import Database
from service_platform.ids import new_id
from service_platform.jobs import enqueue
from service_testing.tokens import TestTokens

EXPORTS = "/api/v1/items/exports"
FULL_SCALE = bool(os.environ.get("FULL_SCALE"))
WAIT_SECONDS = 400.0 if FULL_SCALE else 60.0


@pytest.fixture(scope="session")
def service_settings() -> dict[str, str]:
    return {
        "JOBS_IN_SERVICE": "true",
        "JOBS_POLL_SECONDS": "0.1",
        "RATE_LIMIT_ENABLED": "false",
    }


@pytest.fixture
def owner() -> UUID:
    return new_id()


@pytest.fixture
def mine(tokens: TestTokens, owner: UUID) -> dict[str, str]:
    return tokens.headers(owner)


async def until(condition: Callable[[], Awaitable[Any]]) -> Any:
    async with asyncio.timeout(WAIT_SECONDS):
        while not (found := await condition()):  # noqa: ASYNC110 - another process may make it so
            await asyncio.sleep(0.02)
    return found


async def ask_for_export(
    client: AsyncClient, headers: dict[str, str], export_format: str = "csv"
) -> Response:
    answer = await client.post(EXPORTS, json={"format": export_format}, headers=headers)
    assert answer.status_code == 202, answer.text
    return answer


async def finished(client: AsyncClient, headers: dict[str, str], asked: Response) -> Any:
    """The job of an export, once it has succeeded."""

    async def job() -> Any:
        found = (await client.get(asked.headers["location"], headers=headers)).json()
        assert found["state"] != "failed", found
        return found if found["state"] == "succeeded" else None

    return await until(job)


async def add_items(database: Database, owner: UUID, number: int, **columns: Any) -> None:
    rows = [
        {"id": new_id(), "owner_id": owner, "name": f"Lamp {n}"} | columns for n in range(number)
    ]
    async with database.session() as session:
        await session.execute(insert(Item), rows)
        await session.commit()


async def add_many_items(database: Database, owner: UUID, number: int) -> None:
    """Adds items of different times, in quick statements."""
    statement = text(
        "INSERT INTO items (id, owner_id, name, description, price, tags, created_at) "
        "SELECT gen_random_uuid(), :owner, 'Lamp ' || n, repeat('A lamp. ', 20), n % 1000, "
        "'{home,light}', now() - make_interval(secs => n) "
        "FROM generate_series(CAST(:first AS int), CAST(:last AS int)) AS n"
    )
    for first in range(0, number, 5_000):
        last = min(first + 5_000, number) - 1
        async with database.session() as session:
            await session.execute(statement, {"owner": owner, "first": first, "last": last})
            await session.commit()


async def test_a_file_with_every_item_is_made_and_downloaded(
    client: AsyncClient, database: Database, owner: UUID, mine: dict[str, str]
) -> None:
    await add_items(database, owner, 1_300, price=19.5, tags=["home", "light"])
    await add_items(database, new_id(), 10)
    asked = await ask_for_export(client, mine)
    assert asked.headers["location"] == f"/api/v1/items/jobs/{asked.json()['id']}"
    job = await finished(client, mine, asked)
    assert (job["name"], job["progress"], job["result"]["items"]) == ("export_items", 1, 1_300)
    file = await client.get(job["result"]["href"], headers=mine | {"accept-encoding": "identity"})
    assert file.status_code == 200
    assert file.headers["content-type"] == "text/csv; charset=utf-8"
    assert file.headers["content-disposition"].startswith('attachment; filename="items-20')
    assert file.headers["content-disposition"].endswith('.csv"')
    assert int(file.headers["content-length"]) == len(file.content) == job["result"]["size"]
    rows = list(csv.DictReader(io.StringIO(file.text, newline="")))
    assert len({row["id"] for row in rows}) == len(rows) == 1_300
    assert {row["name"] for row in rows} == {f"Lamp {n}" for n in range(1_300)}
    assert {(row["price"], row["tags"]) for row in rows} == {("19.50", "home, light")}


async def test_ndjson_has_items_as_the_api_shows_them(
    client: AsyncClient, database: Database, owner: UUID, mine: dict[str, str]
) -> None:
    await add_items(database, owner, 3, price=19.5, name="=Lamp\u2028,", description="a\nb")
    job = await finished(client, mine, await ask_for_export(client, mine, "ndjson"))
    file = await client.get(job["result"]["href"], headers=mine)
    assert file.headers["content-type"] == "application/x-ndjson"
    shown = (await client.get("/api/v1/items?sort=created_at", headers=mine)).json()["items"]
    assert [json.loads(line) for line in file.content.split(b"\n")[:-1]] == shown


async def test_text_that_a_spreadsheet_took_for_a_formula_is_text(
    client: AsyncClient, mine: dict[str, str]
) -> None:
    attacks = ["=1+1", "+1", "-1", "@SUM(A1)", '=HYPERLINK("http://evil.example")', "\uff1d1"]
    for each in attacks:
        body = {"name": each, "description": each, "tags": [each], "price": 1}
        created = await client.post("/api/v1/items", json=body, headers=mine)
        assert created.status_code == 201
    harmless = {"name": "a=b, 'c' \"d\"", "description": "one\n=two"}
    await client.post("/api/v1/items", json=harmless, headers=mine)
    job = await finished(client, mine, await ask_for_export(client, mine))
    file = await client.get(job["result"]["href"], headers=mine)
    *dangerous, last = csv.DictReader(io.StringIO(file.text, newline=""))
    assert [row["name"] for row in dangerous] == [f"'{each}" for each in attacks]
    assert [row["description"] for row in dangerous] == [f"'{each}" for each in attacks]
    assert all(row["tags"].startswith("'") for row in dangerous)
    assert (last["name"], last["description"]) == (harmless["name"], harmless["description"])


@pytest.mark.parametrize(("export_format", "content"), [("csv", b"id,name,"), ("ndjson", b"")])
async def test_a_file_without_items(
    client: AsyncClient, mine: dict[str, str], export_format: str, content: bytes
) -> None:
    job = await finished(client, mine, await ask_for_export(client, mine, export_format))
    file = await client.get(job["result"]["href"], headers=mine)
    assert file.status_code == 200
    assert file.content.startswith(content)
    assert file.content.count(b"\n") == bool(content)


async def test_a_repetition_makes_no_second_export(
    client: AsyncClient, database: Database, owner: UUID, mine: dict[str, str]
) -> None:
    headers = mine | {"idempotency-key": "one"}
    first, second = [await ask_for_export(client, headers) for _ in range(2)]
    assert second.headers["location"] == first.headers["location"]
    assert second.headers["idempotency-replayed"] == "true"
    async with database.session() as session:
        count = select(func.count()).where(Export.owner_id == owner)
        assert await session.scalar(count) == 1


@pytest.mark.parametrize("body", [{}, {"format": "xlsx"}, {"format": "csv", "all": True}])
async def test_other_formats_are_refused(
    client: AsyncClient, mine: dict[str, str], body: dict[str, Any]
) -> None:
    assert (await client.post(EXPORTS, json=body, headers=mine)).status_code == 422


async def test_a_file_is_not_sent_before_it_is_complete(
    client: AsyncClient, database: Database, owner: UUID, mine: dict[str, str]
) -> None:
    async with database.session() as session:
        export = await new_export(session, owner)
        await export_repository.write_chunk(session, export)
        await session.commit()
    answer = await client.get(f"{EXPORTS}/{export}/file", headers=mine)
    assert (answer.status_code, answer.json()["error"]) == (409, "export_not_ready")
    assert answer.headers["retry-after"] == "1"


async def new_export(session: AsyncSession, owner: UUID, days: float = 1) -> UUID:
    return await export_repository.add_export(
        session, owner, ExportFormat.CSV, timedelta(days=days)
    )


async def test_an_attempt_that_was_interrupted_is_continued(
    client: AsyncClient, database: Database, owner: UUID, mine: dict[str, str]
) -> None:
    await add_items(database, owner, 1_100)  # three chunks
    async with database.session() as session:
        export = await new_export(session, owner)
        written = await export_repository.write_chunk(session, export)
        await session.commit()
    assert written is not None
    assert written[0].items == export_repository.BATCH

    async def again(session: AsyncSession) -> UUID:
        return await enqueue(session, export_items, export_id=export, href="/file")

    await database.run(again)

    async def complete() -> Response | None:
        answer = await client.get(f"{EXPORTS}/{export}/file", headers=mine)
        return answer if answer.status_code == 200 else None

    file = await until(complete)
    rows = list(csv.DictReader(io.StringIO(file.text, newline="")))
    assert len({row["id"] for row in rows}) == len(rows) == 1_100


async def test_an_export_of_another_account_is_not_found(
    client: AsyncClient, mine: dict[str, str], tokens: TestTokens
) -> None:
    asked = await ask_for_export(client, mine)
    job = await finished(client, mine, asked)
    other = tokens.headers()
    for path in (job["result"]["href"], f"{EXPORTS}/{new_id()}/file"):
        answer = await client.get(path, headers=other)
        assert (answer.status_code, answer.json()["error"]) == (404, "export_not_found")
    assert (await client.get(asked.headers["location"], headers=other)).status_code == 404
    assert (await client.get(job["result"]["href"])).status_code == 401


async def test_the_scope_to_read_is_needed(client: AsyncClient, tokens: TestTokens) -> None:
    headers = tokens.headers(scopes=["items:write"])
    answer = await client.post(EXPORTS, json={"format": "csv"}, headers=headers)
    assert answer.status_code == 403
    assert (await client.get(f"{EXPORTS}/{new_id()}/file", headers=headers)).status_code == 403


async def test_the_newest_exports_are_kept(
    client: AsyncClient, database: Database, owner: UUID, mine: dict[str, str]
) -> None:
    files = []
    for _ in range(export_repository.KEPT + 1):
        job = await finished(client, mine, await ask_for_export(client, mine))
        files.append(job["result"]["href"])
    statuses = [(await client.get(each, headers=mine)).status_code for each in files]
    assert statuses == [404] + [200] * export_repository.KEPT


async def test_an_export_that_is_deleted_meanwhile_is_no_failure(
    client: AsyncClient, database: Database, mine: dict[str, str]
) -> None:
    async def gone(session: AsyncSession) -> UUID:
        return await enqueue(session, export_items, export_id=new_id(), href="/file")

    job = await database.run(gone)

    async def state() -> bool:
        async with database.session() as session:
            found = await session.scalar(text("SELECT state FROM jobs WHERE id = :id"), {"id": job})
        return bool(found == "succeeded")

    await until(state)


async def test_a_file_expires(
    client: AsyncClient, database: Database, owner: UUID, mine: dict[str, str]
) -> None:
    job = await finished(client, mine, await ask_for_export(client, mine))
    async with database.session() as session:
        await session.execute(
            text("UPDATE exports SET expires_at = now() WHERE owner_id = :owner"), {"owner": owner}
        )
        await session.commit()
    assert (await client.get(job["result"]["href"], headers=mine)).status_code == 404
    await database.run(lambda session: enqueue(session, delete_expired_exports))
    await until(lambda: nothing_left(database, owner))


async def nothing_left(database: Database, owner: UUID) -> bool:
    async with database.session() as session:
        exports = await session.scalar(select(func.count()).where(Export.owner_id == owner))
        chunks = await session.scalar(
            select(func.count())
            .select_from(ExportChunk)
            .where(ExportChunk.export_id.not_in(select(Export.id)))
        )
    return exports == 0 and chunks == 0


async def test_exports_of_a_closed_account_are_erased_and_none_is_made(
    client: AsyncClient, app: FastAPI, database: Database, owner: UUID, mine: dict[str, str]
) -> None:
    job = await finished(client, mine, await ask_for_export(client, mine))
    async with database.session() as session:
        session.add(ClosedAccount(account_id=owner))
        await session.commit()
    await until(lambda: nothing_left(database, owner))
    assert (await client.get(job["result"]["href"], headers=mine)).status_code == 404
    refused = await client.post(EXPORTS, json={"format": "csv"}, headers=mine)
    assert refused.status_code == 401
    assert await nothing_left(database, owner)
    async with database.session() as session:
        count = text("SELECT count(*) FROM jobs WHERE account = :account")
        assert await session.scalar(count, {"account": str(owner)}) == 0
    assert isinstance(app.state.erasure, Erasure)


async def test_a_download_that_loses_its_file_breaks_off(
    client: AsyncClient, running_service: Any, database: Database, owner: UUID, mine: dict[str, str]
) -> None:
    await add_items(database, owner, 1_100)
    job = await finished(client, mine, await ask_for_export(client, mine))
    async with database.session() as session:
        await session.execute(text("DELETE FROM export_chunks WHERE number = 2"))
        await session.commit()
    service = running_service()
    async with httpx2.AsyncClient(base_url=service.url) as outside:
        with pytest.raises(httpx2.RemoteProtocolError):
            await outside.get(job["result"]["href"], headers=mine)


async def test_a_file_is_stored_in_chunks_of_some_items(
    client: AsyncClient, database: Database, owner: UUID, mine: dict[str, str]
) -> None:
    await add_items(database, owner, 1_100)
    job = await finished(client, mine, await ask_for_export(client, mine))
    export = UUID(job["result"]["href"].split("/")[-2])
    chunks = select(ExportChunk.data).where(ExportChunk.export_id == export)
    async with database.session() as session:
        found = list(await session.scalars(chunks.order_by(ExportChunk.number)))
    assert [each.count(b"\n") for each in found] == [501, 500, 100]
    assert sum(map(len, found)) == job["result"]["size"]


@pytest.mark.skipif(not FULL_SCALE, reason="FULL_SCALE=1 exports half a million items")
async def test_memory_stays_flat_however_many_items(
    running_service: Any, database: Database, owner: UUID, mine: dict[str, str]
) -> None:
    """Neither making nor sending a file keeps more of it than some chunks."""
    service = running_service()
    assert service.process is not None
    process = psutil.Process(service.process.pid)
    async with AsyncClient(base_url=service.url, timeout=60) as client:
        await add_many_items(database, owner, 1_000)
        await finished(client, mine, await ask_for_export(client, mine))
        await add_many_items(database, owner, 500_000)
        before = peak = process.memory_info().rss
        job = await finished(client, mine, await ask_for_export(client, mine))
        size = 0
        headers = mine | {"accept-encoding": "identity"}
        async with client.stream("GET", job["result"]["href"], headers=headers) as answer:
            async for each in answer.aiter_raw():
                size += len(each)
                peak = max(peak, process.memory_info().rss)
    assert size == job["result"]["size"]
    print(f"{job['result']['items']} items, {size / 1e6:.0f} MB")  # noqa: T201
    print(f"memory grew by {(peak - before) / 1e6:.0f} MB")  # noqa: T201
    assert peak - before < size / 4
