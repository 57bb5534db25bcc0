"""The spans of statements, inside of a recorded span and with their errors."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from fastapi import APIRouter
from httpx2 import AsyncClient
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
from service_platform.telemetry.database_spans import server_attributes
from service_platform.telemetry.tracing import span
from service_testing.collector import Collector, ReceivedSpan
from service_testing.services import client_of, started

SECRET = "hunter2"


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
