import asyncio
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import TypeVar

import pytest
from shop.models import Product
from sqlalchemy import (
    DateTime,
    Enum,
    Float,
    Numeric,
    Row,
    bindparam,
    func,
    insert,
    literal,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import (
    DBAPIError,
    InvalidRequestError,
    MultipleResultsFound,
    StatementError,
)

from service_platform.database import Database
from service_platform.ids import new_id
from service_testing.sql_log import SqlLog

T = TypeVar("T")


class Colour(StrEnum):
    RED = "red"


@pytest.fixture
def database(either_database: Database) -> Database:
    return either_database


async def three_times(read: Callable[[], Awaitable[T]]) -> list[T]:
    """Results of the same read; the accelerated reader takes another way from the third on."""
    return [await read() for _ in range(3)]


@pytest.fixture
async def products(database: Database) -> list[uuid.UUID]:
    ids = [new_id() for _ in range(3)]
    rows = [
        {"id": id_, "name": f"p{n}", "stock": n, "price": Decimal("1.50"), "tags": ["a", f"t{n}"]}
        for n, id_ in enumerate(ids)
    ]
    async with database.engine.begin() as connection:
        await connection.execute(insert(Product), rows)
    return ids


async def test_a_row_has_the_selected_columns_as_attributes(
    database: Database, products: list[uuid.UUID]
) -> None:
    statement = select(Product.id, Product.name, Product.price, Product.tags).where(
        Product.id == products[1]
    )
    for row in await three_times(lambda: database.reader.one_or_none(statement)):
        assert isinstance(row, Row)
        assert (row.id, row.name, row.price, row.tags) == (
            products[1],
            "p1",
            Decimal("1.50"),
            ["a", "t1"],
        )
        assert row == (products[1], "p1", Decimal("1.50"), ["a", "t1"])


async def test_one_row_is_one_or_none(database: Database, products: list[uuid.UUID]) -> None:
    by_id = select(Product.name).where(Product.id == bindparam("id"))
    for id_, name in [*zip(products, ["p0", "p1", "p2"], strict=True), (uuid.uuid4(), None)]:
        row = await database.reader.one_or_none(by_id, {"id": id_})
        assert (row and row.name) == name
        assert await database.reader.scalar(by_id, {"id": id_}) == name
    every = select(Product.name).order_by(Product.name)
    for _ in range(3):
        with pytest.raises(MultipleResultsFound):
            await database.reader.one_or_none(every)
        assert await database.reader.scalar(every) == "p0"


async def test_a_statement_of_the_same_shape_uses_its_own_values(
    database: Database, products: list[uuid.UUID]
) -> None:
    async def name_of(id_: uuid.UUID, stock: int) -> str | None:
        statement = select(Product.name).where(Product.stock == stock, Product.id == id_).limit(1)
        return await database.reader.scalar(statement)

    assert [await name_of(id_, n) for n, id_ in enumerate(products)] == ["p0", "p1", "p2"]
    assert await name_of(products[0], 2) is None


async def test_constants_and_expressions_of_a_statement_keep_their_values(
    database: Database, products: list[uuid.UUID]
) -> None:
    for factor in (2, 3):
        statement = (
            select((Product.stock * factor).label("times"), literal("x").label("constant"))
            .where(Product.name.like("p%"), Product.stock > 0)
            .order_by(Product.stock.desc())
            .limit(factor)
        )
        rows = await database.reader.all(statement)
        assert rows == [(2 * factor, "x"), (factor, "x")]


async def test_a_prepared_statement_takes_named_parameters(
    database: Database, products: list[uuid.UUID]
) -> None:
    by_id = select(Product.name).where(
        Product.id == bindparam("id"), Product.stock < bindparam("below", 100)
    )
    assert await database.reader.scalars(by_id, {"id": products[0]}) == ["p0"]
    assert await database.reader.scalars(by_id, {"id": products[2]}) == ["p2"]
    assert await database.reader.scalars(by_id, {"id": products[2], "below": 2}) == []
    with pytest.raises(StatementError, match="'id'"):
        await database.reader.scalars(by_id, {})


async def test_a_list_of_values_is_expanded(database: Database, products: list[uuid.UUID]) -> None:
    for wanted in ([], products[:1], products):
        statement = select(Product.id).where(Product.id.in_(wanted)).order_by(Product.id)
        assert await database.reader.scalars(statement) == wanted


async def test_the_types_of_columns_convert_values_both_ways(database: Database) -> None:
    document = {"a": [1, None, "ü"]}
    moment = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
    statement = select(
        literal(document, JSONB()).label("document"),
        literal(Decimal("0.10"), Numeric(12, 2)).label("exact"),
        literal(0.5, Float()).label("inexact"),
        literal(Colour.RED, Enum(Colour, native_enum=False)).label("colour"),
        literal(moment, DateTime(timezone=True)).label("moment"),
        literal(None, Numeric()).label("nothing"),
    )
    for row in await three_times(lambda: database.reader.one_or_none(statement)):
        assert row == (document, Decimal("0.10"), 0.5, Colour.RED, moment, None)
        assert [type(value) for value in row[1:4]] == [Decimal, float, Colour]


async def test_an_entity_is_refused(database: Database) -> None:
    with pytest.raises(InvalidRequestError, match="select the columns"):
        await database.reader.all(select(Product))


async def test_a_read_is_one_statement_without_a_transaction(
    database: Database, products: list[uuid.UUID], sql_log: SqlLog
) -> None:
    statement = select(Product.name).where(Product.id == products[0])
    for _ in range(4):
        sql_log.clear()
        await database.reader.scalar(statement)
        (only,) = sql_log.statements()
        assert only.startswith("SELECT products.name")


async def test_errors_are_those_of_sqlalchemy_without_values(database: Database) -> None:
    with pytest.raises(DBAPIError) as caught:
        await database.reader.scalar(select(text("1 / 0")))
    assert getattr(caught.value.orig, "sqlstate", None) == "22012"
    with pytest.raises(DBAPIError) as caught:
        await database.reader.scalar(
            select(Product.id).where(Product.name == bindparam("name")), {"name": "secret\0value"}
        )
    assert "secret" not in str(caught.value)


async def test_a_cancelled_read_is_cancelled_on_the_server_and_leaves_a_usable_pool(
    database: Database,
) -> None:
    asleep = select(func.pg_sleep(bindparam("seconds", type_=Float)))
    for _ in range(3):
        await database.reader.scalar(asleep, {"seconds": 0.0})
    for seconds in [0.0, 0.001, 0.01, 0.1] * 4:
        task = asyncio.ensure_future(database.reader.scalar(asleep, {"seconds": 10.0}))
        await asyncio.sleep(seconds)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert database.pool_usage()[0] == 0
    sleeping = select(func.count()).select_from(
        text("pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'")
    )
    for _ in range(100):  # the server ends a statement a moment after it was asked to
        if not await database.reader.scalar(sleeping):
            break
        await asyncio.sleep(0.05)
    assert await database.reader.scalar(sleeping) == 0


async def test_a_read_cancelled_while_its_connection_is_made_leaves_nothing_open(
    database: Database,
) -> None:
    occupied = [await database.engine.connect() for _ in range(3)]
    for step in range(60):
        task = asyncio.ensure_future(database.reader.scalar(select(literal(1))))
        await asyncio.sleep(step * 0.0002)
        if not task.done():
            task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    for connection in occupied:
        await connection.close()
    assert database.pool_usage()[0] == 0


async def test_more_reads_than_connections_wait_their_turn(database: Database) -> None:
    _, limit = database.pool_usage()
    statement = select(func.pg_backend_pid(), func.pg_sleep(0.005))
    rows = await asyncio.gather(*(database.reader.one_or_none(statement) for _ in range(limit * 5)))
    assert len({row[0] for row in rows if row is not None}) <= limit
    assert database.pool_usage()[0] == 0
