"""The spans of statements: what they are called, and that no value is in them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from fastapi import APIRouter
from httpx2 import AsyncClient
from hypothesis import given
from hypothesis import strategies as st
from packages.platform.tests.telemetry.conftest import Traced
from shop.models import Product
from sqlalchemy import insert, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from service_platform.app import create_app
from service_platform.connection_urls import PostgresUrl
from service_platform.database import Database
from service_platform.database.session import DbReader, DbSession
from service_platform.settings import PlatformSettings
from service_platform.telemetry.database_spans import describe, server_attributes
from service_platform.telemetry.tracing import span
from service_testing.collector import Collector, ReceivedSpan
from service_testing.services import client_of, started

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("SELECT name FROM items WHERE id = $1", "SELECT items"),
        ("select name\nfrom\titems i JOIN owners o ON true", "SELECT items"),
        ("INSERT INTO items (name, stock) VALUES ($1, $2)", "INSERT items"),
        ("INSERT INTO items(name) SELECT name FROM drafts", "INSERT items"),
        ("INSERT INTO items (a) VALUES ($1) ON CONFLICT (a) DO UPDATE SET a = $1", "INSERT items"),
        ("UPDATE items SET stock = $1 FROM orders", "UPDATE items"),
        ("UPDATE ONLY items SET stock = 0", "UPDATE items"),
        ("DELETE FROM items USING orders", "DELETE items"),
        ("MERGE INTO items USING orders ON true WHEN MATCHED THEN DELETE", "MERGE items"),
        ("WITH a AS (SELECT 1 FROM b) INSERT INTO items (name) VALUES ($1)", "INSERT items"),
        ("WITH a AS (INSERT INTO b (c) SELECT 1 RETURNING c) SELECT c FROM items", "SELECT items"),
        ("WITH a AS (SELECT 1), b AS (DELETE FROM c) UPDATE items SET d = 1", "UPDATE items"),
        ("BEGIN;", "BEGIN"),
        ("BEGIN ISOLATION LEVEL SERIALIZABLE;", "BEGIN"),
        ("COMMIT;", "COMMIT"),
        ("SAVEPOINT a", "SAVEPOINT"),
        ('SELECT a FROM "items" WHERE true', "SELECT items"),
        ('SELECT a FROM "our items"', "SELECT our items"),
        ('SELECT a FROM "public"."items"', "SELECT public.items"),
        ("SELECT a FROM public.items", "SELECT public.items"),
        ("SELECT a FROM generate_series(1, 2) AS a", "SELECT"),
        ("SELECT extract(epoch FROM created_at) FROM items", "SELECT items"),
        ("SELECT (SELECT count(*) FROM orders) FROM items", "SELECT items"),
        ("SELECT a FROM (SELECT a FROM items) b", "SELECT items"),
        ("(SELECT a FROM items) UNION (SELECT a FROM orders)", "SELECT items"),
        ("SELECT pg_advisory_xact_lock($1) FOR UPDATE SKIP LOCKED", "SELECT"),
        ("SELECT 'FROM a' FROM items", "SELECT items"),
        ("/* from a */ SELECT 1 -- FROM b\nFROM items", "SELECT items"),
        ("SHOW server_version", "SHOW"),
        ("", ""),
    ],
)
def test_a_span_is_called_by_what_is_done_to_which_table(statement: str, name: str) -> None:
    called, attributes = describe(statement)
    operation, _, table = name.partition(" ")
    assert (called, attributes["db.query.summary"]) == (name, name)
    assert attributes["db.operation.name"] == operation
    assert attributes.get("db.collection.name", "") == table


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("SELECT $1::NUMERIC(12, 2), $12", "SELECT $1::NUMERIC(?, ?), $12"),
        ("SELECT 'it''s', E'\\'', U&'\\0041', b'101' , x'1F'", "SELECT ?, ?, U&?, b?, x?"),
        ("SELECT date'a\\', 'b'", "SELECT date?, ?"),
        ("SELECT $$a$$, $tag$ $$ 'b' $tag$, c$d$", "SELECT ?, ?, c$d$"),
        ("SELECT 1, -2.5, .5, 1e-9, 0x1F, 1_000", "SELECT ?, -?, .?, ?, ?, ?"),
        ("SELECT t1.a2 FROM shop_gw0_1", "SELECT t1.a2 FROM shop_gw0_1"),
        ("SELECT 1 -- don't\n, 'a'", "SELECT ? , ?"),
        ("SELECT /* don't /* nested's */ ' */ 'a'", "SELECT ?"),
        ("SELECT \"it's\" , 'a'", 'SELECT "it\'s" , ?'),
        ("SELECT 'never ended", "SELECT ?"),
        ("SELECT a /* never ended", "SELECT a"),
    ],
)
def test_literals_are_question_marks(statement: str, told: str) -> None:
    assert describe(statement)[1]["db.query.text"].replace(" ,", ",") == told.replace(" ,", ",")


LETTERS = st.text(alphabet="abc xyz'\\\"$-/*;()\n%?0", max_size=12)
SAFE = st.sampled_from(
    ["FROM items", "AND a = $1", '"it\'s"', "-- don't\n", "/* '$a$ */", "$2", "e"]
)


def _standard(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _escaped(value: str) -> str:
    return "E'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _dollars(value: str) -> str:
    return "$body$" + value + "$body$"


LITERALS = st.builds(
    lambda form, before, after: form(f"{before}{SECRET}{after}"),
    st.sampled_from([_standard, _escaped, _dollars]),
    LETTERS,
    LETTERS,
) | st.sampled_from(["4711", "-4711", "4711.4711", "4711e4711", "0.4711", "4711_4711", "0x4711"])


@given(st.lists(st.tuples(SAFE, LITERALS), max_size=5))
def test_no_literal_is_in_the_text_of_a_span(parts: list[tuple[str, str]]) -> None:
    statement = "SELECT " + " ".join(f"{safe} {literal}" for safe, literal in parts)
    name, attributes = describe(statement)
    for told in (name, *attributes.values()):
        assert SECRET not in told
        assert "4711" not in told


@pytest.mark.parametrize(
    ("url", "address", "port", "namespace"),
    [
        ("postgresql://me:pw@db.test:6000/shop", "db.test", 6000, "shop"),
        ("postgresql://me:pw@db.test/shop", "db.test", 5432, "shop"),
        ("postgresql://me@one:1,two:2/shop", "one", 1, "shop"),
    ],
)
def test_the_server_is_known_by_its_address(
    url: str, address: str, port: int, namespace: str
) -> None:
    assert server_attributes(PostgresUrl.parse(url)) == {
        "server.address": address,
        "server.port": port,
        "db.namespace": namespace,
    }


async def _in_session(
    database: Database, work: Callable[[AsyncSession], Awaitable[object]]
) -> None:
    async with database.session() as session, session.begin():
        await work(session)


async def test_a_transaction_is_its_statements(traced: Traced, database: Database) -> None:
    async def work(session: AsyncSession) -> None:
        session.add(Product(name=SECRET, stock=7, tags=[]))
        await session.flush()
        await session.execute(select(Product.name).where(Product.name == SECRET))

    spans = await traced(_in_session(database, work))
    assert sorted(each.name for each in spans) == [
        "BEGIN",
        "COMMIT",
        "INSERT products",
        "SELECT products",
    ]
    for each in spans:
        assert each.attributes["db.system.name"] == "postgresql"
        assert each.attributes["server.address"] == "127.0.0.1"
        assert each.attributes["db.namespace"].startswith("shop")
        assert SECRET not in str(each)
        assert not each.is_error


async def test_many_rows_are_one_span_with_their_number(traced: Traced, database: Database) -> None:
    async def work(session: AsyncSession) -> None:
        await session.execute(
            text("UPDATE products SET name = :name WHERE stock = :stock"),
            [{"name": SECRET, "stock": 1}, {"name": SECRET, "stock": 2}],
        )

    spans = await traced(_in_session(database, work))
    (many,) = [each for each in spans if each.name == "UPDATE products"]
    assert many.attributes["db.operation.batch.size"] == 2


async def test_an_error_is_told_by_its_code_and_not_by_its_message(
    traced: Traced, database: Database
) -> None:
    async def twice(session: AsyncSession) -> None:
        await session.execute(insert(Product).values(name=SECRET, stock=0, tags=[]))
        with pytest.raises(DBAPIError):
            await session.execute(insert(Product).values(name=SECRET, stock=0, tags=[]))
        await session.rollback()

    spans = await traced(twice(database.session()))
    (failed,) = [each for each in spans if each.is_error]
    assert failed.name == "INSERT products"
    assert failed.attributes["db.response.status_code"] == "23505"
    assert failed.attributes["error.type"] == "UniqueViolationError"
    assert SECRET not in str(failed)
    assert failed.events == []


async def test_an_error_of_many_rows_has_its_code(traced: Traced, database: Database) -> None:
    async def work(session: AsyncSession) -> None:
        with pytest.raises(DBAPIError):
            await session.execute(
                text("UPDATE products SET stock = 1 / CAST(:n AS int) WHERE true OR :n = 1"),
                [{"n": 0}, {"n": 1}],
            )
        await session.rollback()

    async with database.session() as session:
        session.add(Product(name="a", stock=0, tags=[]))
        await session.commit()
        spans = await traced(work(session))
    (failed,) = [each for each in spans if each.is_error]
    assert failed.attributes["db.response.status_code"] == "22012"


async def test_a_cancelled_statement_has_a_span_with_an_error(
    traced: Traced, database: Database
) -> None:
    async def work() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1), database.session() as session:
                await session.execute(text("SELECT pg_sleep(60)"))

    spans = await traced(work())
    (cancelled,) = [each for each in spans if each.name == "SELECT"]
    assert cancelled.is_error
    assert cancelled.attributes["error.type"] == "CancelledError"


@pytest.fixture(params=["true", "false"], ids=["accelerated", "not accelerated"])
async def reading(
    exporting: Collector, service_environment: dict[str, str], request: pytest.FixtureRequest
) -> AsyncIterator[Database]:
    settings = PlatformSettings(acceleration=request.param)
    resource = Database(settings, migrations="shop.migrations")
    await resource.start()
    yield resource
    await resource.stop()


async def test_a_read_is_one_span_each_time(traced: Traced, reading: Database) -> None:
    statement = select(Product.name).where(Product.stock == 4711)

    async def work() -> None:
        with span("inside"):  # ends in the moment the rows are there
            await reading.reader.all(statement)

    for _ in range(4):  # from the third time on, the driver is asked directly
        inside, read = await traced(work())
        assert read.parent_id == inside.span_id
        assert read.name == "SELECT products"
        assert read.attributes["db.namespace"].startswith("shop")
        assert "4711" not in str(read.attributes)
        assert read.start < read.end


async def test_a_failed_read_has_its_code(traced: Traced, reading: Database) -> None:
    statement: Any = select(text("1 / stock FROM products"))
    async with reading.session() as session:
        session.add(Product(name="a", stock=1, tags=[]))
        await session.commit()
    for _ in range(3):
        await reading.reader.all(statement)
    async with reading.session() as session:
        await session.execute(text("UPDATE products SET stock = 0"))
        await session.commit()

    async def work() -> None:
        with pytest.raises(DBAPIError):
            await reading.reader.all(statement)

    (failed,) = await traced(work())
    assert failed.is_error
    assert failed.attributes["db.response.status_code"] == "22012"


async def test_outside_of_a_span_there_is_none(exporting: Collector, database: Database) -> None:
    async with database.session() as session:
        await session.execute(text("SELECT 1"))
        await session.commit()
    await asyncio.sleep(0)
    with span("the end"):
        pass
    await asyncio.to_thread(exporting.wait_for, bool)
    assert [each.name for each in exporting.spans] == ["the end"]


READ = select(Product.name).where(Product.stock == 4711)
router = APIRouter()


@router.get("/read")
async def read(reader: DbReader) -> int:
    return len(await reader.all(READ))


@router.get("/sleep")
async def sleep(session: DbSession) -> None:
    await session.execute(text("SELECT pg_sleep(60)"))


@pytest.fixture
async def client(
    otel_variables: dict[str, str],
    service_environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[AsyncClient]:
    """A service with these two routes, which exports to the collector."""
    for name, value in otel_variables.items():
        monkeypatch.setenv(name, value)
    settings = PlatformSettings(_env_file=None, rate_limit_enabled=False)
    resource = Database(settings, migrations="shop.migrations")
    app = create_app(settings, routers=[router], resources=[resource])
    async with started(app), client_of(app) as made:
        yield made


def whole_trace(spans: list[ReceivedSpan], route: str) -> dict[str, ReceivedSpan] | None:
    """The spans of a request by their names, when all have arrived."""
    requests = [each for each in spans if each.name == f"GET /api/v1/{route}"]
    if not requests:
        return None
    found = {each.name: each for each in spans if each.trace_id == requests[-1].trace_id}
    known = {each.span_id for each in found.values()}
    is_whole = all(each.parent_id in known for each in found.values() if each.parent_id)
    return found if is_whole and any(each.kind == 3 for each in found.values()) else None


async def test_a_read_that_is_all_an_endpoint_does_is_in_the_trace(
    client: AsyncClient, collector: Collector
) -> None:
    for _ in range(4):  # from the third time on, the driver is asked directly
        collector.spans.clear()
        assert (await client.get("/api/v1/read")).json() == 0
        found = await asyncio.to_thread(
            collector.wait_for, lambda spans: whole_trace(spans, "read")
        )
        assert sum(each.name == "SELECT products" for each in collector.spans) == 1
        request, statement = found["GET /api/v1/read"], found["SELECT products"]
        assert request.start <= statement.start < request.end


async def test_a_statement_that_a_deadline_cancels_is_in_the_trace(
    client: AsyncClient, collector: Collector
) -> None:
    answer = await client.get("/api/v1/sleep", headers={"x-request-timeout": "0.3"})
    assert answer.status_code == 504
    found = await asyncio.to_thread(collector.wait_for, lambda spans: whole_trace(spans, "sleep"))
    assert found["SELECT"].attributes["error.type"] == "CancelledError"
    assert found["SELECT"].is_error
    request = found["GET /api/v1/sleep"]
    assert request.attributes["http.response.status_code"] == 504
    assert request.is_error
    assert request.events == []
