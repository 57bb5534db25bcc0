import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from fastapi import FastAPI, Response
from httpx2 import ASGITransport, AsyncClient
from shop.models import Product
from sqlalchemy import select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from service_platform.database import Database
from service_platform.database.session import DbReader, DbSession, TheDatabase
from service_platform.errors import NotFound
from service_platform.errors.database import sqlstate
from service_testing.sql_log import SqlLog


def product(name: str, stock: int = 1) -> Product:
    return Product(name=name, stock=stock, tags=[])


@pytest.fixture
def api(database: Database) -> FastAPI:
    api = FastAPI()
    api.state.database = database

    @api.post("/products/{name}", status_code=201)
    async def create(name: str, session: DbSession) -> str:
        session.add(product(name))
        return name

    @api.post("/failing/{name}")
    async def create_and_fail(name: str, session: DbSession) -> str:
        session.add(product(name))
        await session.flush()
        raise NotFound

    @api.get("/untouched")
    async def untouched(session: DbSession) -> str:
        return "nothing done"

    @api.get("/names")
    async def names(reader: DbReader) -> list[str]:
        return await reader.scalars(select(Product.name).order_by(Product.name))

    @api.get("/database")
    async def has_database(found: TheDatabase) -> bool:
        return found is database

    return api


@asynccontextmanager
async def calling(api: FastAPI) -> AsyncIterator[AsyncClient]:
    transport = ASGITransport(api, raise_app_exceptions=False)
    async with AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


async def test_what_a_request_wrote_is_committed(api: FastAPI) -> None:
    async with calling(api) as client:
        assert (await client.post("/products/chair")).status_code == 201
        assert (await client.get("/names")).json() == ["chair"]
        assert (await client.get("/database")).json() is True


async def test_the_commit_comes_before_the_response(api: FastAPI, database: Database) -> None:
    seen: list[int] = []

    async def watching(scope: object, receive: object, send: object) -> None:
        async def on_send(message: dict[str, object]) -> None:
            if message["type"] == "http.response.start":
                seen.append(len(await database.reader.all(select(Product.id))))
            await send(message)  # type: ignore[operator]

        await api(scope, receive, on_send)  # type: ignore[arg-type]

    transport = ASGITransport(watching)
    async with AsyncClient(transport=transport, base_url="http://test") as client:
        await client.post("/products/chair")
    assert seen == [1]


async def test_a_commit_that_fails_is_no_success(api: FastAPI) -> None:
    async with calling(api) as client:
        await client.post("/products/chair")
        assert (await client.post("/products/chair")).status_code == 500
        assert (await client.get("/names")).json() == ["chair"]


async def test_what_a_failing_request_wrote_is_rolled_back(api: FastAPI) -> None:
    async with calling(api) as client:
        assert (await client.post("/failing/chair")).status_code == 404
        assert (await client.get("/names")).json() == []


async def test_a_session_that_is_not_used_costs_no_statement(
    api: FastAPI, database: Database, sql_log: SqlLog
) -> None:
    async with calling(api) as client:
        assert (await client.get("/untouched")).status_code == 200
    assert sql_log.statements() == []
    assert database.pool_usage()[0] == 0


async def test_a_cancelled_request_gives_its_connection_back(
    api: FastAPI, database: Database
) -> None:
    @api.get("/slow")
    async def slow(session: DbSession) -> Response:
        await session.execute(text("SELECT pg_sleep(30)"))
        return Response()

    async with calling(api) as client:
        for _ in range(12):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await client.get("/slow")
        assert (await client.post("/products/chair")).status_code == 201
    assert database.pool_usage()[0] == 0


async def test_a_unit_of_work_is_run_again_after_a_deadlock(database: Database) -> None:
    async with database.session() as session:
        session.add_all([product("a"), product("b")])
        await session.commit()
    together = asyncio.Barrier(2)
    runs: list[str] = []

    async def buy(session: AsyncSession, first: str, second: str) -> str:
        runs.append(first)
        await take(session, first)
        if len(runs) <= 2:
            await together.wait()
        await take(session, second)
        return first

    async def take(session: AsyncSession, name: str) -> None:
        await session.execute(
            update(Product).where(Product.name == name).values(stock=Product.stock + 1)
        )

    results = await asyncio.gather(
        database.run(lambda session: buy(session, "a", "b")),
        database.run(lambda session: buy(session, "b", "a")),
    )
    assert tuple(results) == ("a", "b")
    assert len(runs) == 3
    assert await database.reader.scalars(select(Product.stock)) == [3, 3]


async def test_a_unit_of_work_is_run_again_after_a_serialization_failure(
    database: Database,
) -> None:
    async with database.session() as session:
        session.add(product("a", 0))
        await session.commit()
    together = asyncio.Barrier(2)
    runs = 0

    async def increment(session: AsyncSession) -> None:
        nonlocal runs
        runs += 1
        stock = await session.scalar(select(Product.stock))
        assert stock is not None
        if runs <= 2:
            await together.wait()
        await session.execute(update(Product).values(stock=stock + 1))

    await asyncio.gather(
        *(database.run(increment, isolation_level="REPEATABLE READ") for _ in range(2))
    )
    assert runs == 3
    assert await database.reader.scalar(select(Product.stock)) == 2


async def test_a_unit_of_work_is_not_run_again_for_ever_nor_for_other_failures(
    database: Database,
) -> None:
    runs = 0

    async def fails(session: AsyncSession) -> None:
        nonlocal runs
        runs += 1
        await session.execute(text("DO $$ BEGIN RAISE SQLSTATE '40001'; END $$"))

    with pytest.raises(DBAPIError) as caught:
        await database.run(fails, attempts=4)
    assert sqlstate(caught.value) == "40001"
    assert runs == 4

    async def conflicts(session: AsyncSession) -> None:
        nonlocal runs
        runs += 1
        session.add_all([product("same"), product("same")])

    with pytest.raises(IntegrityError):
        await database.run(conflicts)
    assert runs == 5
