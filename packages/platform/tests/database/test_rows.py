"""Rows carry the types of their columns, and become named tuples that have them too.

mypy, which checks the tests, is what tries the types.
"""

import uuid
from decimal import Decimal
from typing import Final, NamedTuple, assert_type

from shop.models import Product
from sqlalchemy import Row, bindparam, func, select

from service_platform.database import Database, Reader
from service_platform.database.rows import page_of, row_of, rows_of
from service_platform.pagination import KeysetPage

ONE = select(Product.name, Product.stock, Product.price).where(Product.id == bindparam("id"))


async def read(reader: Reader, product_id: uuid.UUID) -> str:
    """Never run: each line is a type error unless the types are exactly these."""
    row = await reader.one_or_none(ONE, {"id": product_id})
    assert_type(row, Row[str, int, Decimal | None] | None)
    assert row is not None
    name, stock, price = row
    assert_type(name, str)
    assert_type(stock, int)
    assert_type(price, Decimal | None)
    assert_type(row[1], int)
    assert_type(await reader.all(ONE), list[Row[str, int, Decimal | None]])
    assert_type(await reader.scalar(ONE), str | None)
    assert_type(await reader.scalars(ONE), list[str])
    assert_type(await reader.scalar(select(func.count())), int | None)

    wrong: int = row[0]  # type: ignore[assignment]
    too_many: object = row[3]  # type: ignore[misc]
    first, second = row  # type: ignore[misc]
    await reader.scalar(Product)  # type: ignore[arg-type]
    return f"{wrong} {too_many} {first} {second}"


async def test_rows_have_the_types_that_are_declared(database: Database) -> None:
    async with database.session() as session:
        product = Product(name="chair", stock=1, price=Decimal("1.5"), tags=[])
        session.add(product)
        await session.commit()
    row = await database.reader.one_or_none(ONE, {"id": product.id})
    assert row is not None
    assert [type(value) for value in row] == [str, int, Decimal]


class ProductRow(NamedTuple):
    name: str
    stock: int


PRODUCT_COLUMNS: Final = (Product.name, Product.stock)
BY_NAME = select(*PRODUCT_COLUMNS).where(Product.name == bindparam("name"))
WRONG = select(Product.name, Product.price)


async def convert(reader: Reader) -> None:
    """Never run: columns that are missing, too many or of another type are type errors."""
    assert_type(row_of(ProductRow, await reader.one_or_none(BY_NAME)), ProductRow | None)
    assert_type(rows_of(ProductRow, await reader.all(BY_NAME)), list[ProductRow])
    row_of(ProductRow, await reader.one_or_none(WRONG))  # type: ignore[arg-type]
    row_of(ProductRow, await reader.one_or_none(ONE))  # type: ignore[arg-type]
    rows_of(ProductRow, await reader.all(select(Product.name)))  # type: ignore[arg-type]


async def test_rows_become_named_tuples(database: Database) -> None:
    async with database.session() as session:
        session.add_all([Product(name=name, stock=n, tags=[]) for n, name in enumerate("ab")])
        await session.commit()
    reader = database.reader
    assert row_of(ProductRow, await reader.one_or_none(BY_NAME, {"name": "b"})) == ("b", 1)
    assert row_of(ProductRow, await reader.one_or_none(BY_NAME, {"name": "c"})) is None
    rows = await reader.all(select(*PRODUCT_COLUMNS).order_by(Product.name))
    assert rows_of(ProductRow, rows) == [ProductRow("a", 0), ProductRow("b", 1)]
    assert [row.stock for row in rows_of(ProductRow, rows)] == [0, 1]


async def test_a_page_keeps_its_cursor(database: Database) -> None:
    async with database.session() as session:
        session.add(Product(name="a", stock=5, tags=[]))
        await session.commit()
    rows = await database.reader.all(select(*PRODUCT_COLUMNS))
    page = page_of(ProductRow, KeysetPage(rows, "next"))
    assert (page.items, page.next_cursor) == ([ProductRow("a", 5)], "next")
