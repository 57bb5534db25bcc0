"""Rows carry the types of their columns; mypy, which checks the tests, is what tries it."""

import uuid
from decimal import Decimal
from typing import assert_type

from shop.models import Product
from sqlalchemy import Row, bindparam, func, select

from service_platform.database import Database, Reader

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
