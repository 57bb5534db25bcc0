"""Which statements the driver runs as they were compiled, with which values and rows."""

import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from shop.models import Product
from sqlalchemy import Select, bindparam, insert, select, text
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.ext.asyncio import AsyncConnection

from service_platform.acceleration.compiled_select import CompiledSelect, compiled_select
from service_platform.database import Database

ID = uuid.UUID(int=7)


@pytest.fixture
async def connection(database: Database) -> AsyncIterator[AsyncConnection]:
    async with database.engine.connect() as opened:
        await opened.execute(insert(Product).values(id=ID, name="p", stock=3, tags=["a"]))
        yield opened


async def compiled_of(
    connection: AsyncConnection,
    statement: Select[*tuple[Any, ...]],
    parameters: dict[str, Any] | None = None,
) -> CompiledSelect | None:
    result = await connection.execute(statement, parameters)
    return compiled_select(statement, result)


async def test_values_are_bound_and_rows_made_as_by_sqlalchemy(
    connection: AsyncConnection,
) -> None:
    statement = select(Product.id, Product.stock.label("left")).where(
        Product.stock > bindparam("least"), Product.name == "p"
    )
    compiled = await compiled_of(connection, statement, {"least": 1})
    assert compiled is not None
    values = compiled.bind({"least": 2})
    assert values == [2, "p"]
    driver: Any = (await connection.get_raw_connection()).driver_connection
    (row,) = compiled.rows(await driver.fetch(compiled.sql, *values))
    (expected,) = await connection.execute(statement, {"least": 2})
    assert row == expected == (ID, 3)
    assert (row.id, row.left, row._mapping["left"]) == (ID, 3, 3)


async def test_a_missing_value_is_refused(connection: AsyncConnection) -> None:
    statement = select(Product.name).where(Product.stock == bindparam("stock"))
    compiled = await compiled_of(connection, statement, {"stock": 1})
    assert compiled is not None
    with pytest.raises(InvalidRequestError, match="stock"):
        compiled.bind({})


@pytest.mark.parametrize(
    ("statement", "parameters"),
    [
        (select(Product.name).where(Product.stock.in_([1, 2])), None),
        (
            select(Product.name).where(Product.stock == bindparam("n", literal_execute=True)),
            {"n": 1},
        ),
        (select(Product.name).where(Product.stock == bindparam("n")).params(n=1), None),
        (select(Product.name).execution_options(stream_results=False), None),
    ],
    ids=["list of values", "value within the SQL", "own values", "own options"],
)
async def test_a_statement_whose_sql_or_values_vary_is_left_to_sqlalchemy(
    connection: AsyncConnection,
    statement: Select[*tuple[Any, ...]],
    parameters: dict[str, Any] | None,
) -> None:
    assert await compiled_of(connection, statement, parameters) is None


async def test_a_translated_schema_is_left_to_sqlalchemy(database: Database) -> None:
    engine = database.engine.execution_options(schema_translate_map={None: "public"})
    async with engine.connect() as connection:
        assert await compiled_of(connection, select(Product.name)) is None
        assert await connection.scalar(text("SELECT 1")) == 1
