import gc
import random
import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from shop.models import Product
from sqlalchemy import asc, bindparam, desc, insert, select, text

from service_platform.database import Database
from service_platform.errors import InvalidCursor
from service_platform.ids import new_id
from service_platform.pagination import CursorCodec, Keyset, PageParams, _pages, fetch_page
from service_testing.sql_log import SqlLog

CODEC = CursorCodec(["k" * 40])
COLUMNS = select(
    Product.id, Product.name, Product.stock, Product.price, Product.created_at, Product.parent_id
)

ORDERS = [
    Keyset("stock", Product.stock, Product.id),
    Keyset("-stock", desc(Product.stock), desc(Product.id)),
    Keyset("stock,-name", asc(Product.stock), desc(Product.name)),
    Keyset("-price", desc(Product.price), Product.id),
    Keyset("price", Product.price, desc(Product.stock), Product.id),
    Keyset("-created_at", desc(Product.created_at), desc(Product.id)),
    Keyset("parent", Product.parent_id, Product.price, Product.id),
]


@pytest.fixture
async def products(database: Database) -> list[dict[str, Any]]:
    choice = random.Random(7)
    parent = new_id()
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    rows: list[dict[str, Any]] = [
        {
            "id": parent if n == 0 else uuid.UUID(int=choice.getrandbits(128), version=4),
            "name": f"name {n:03}",
            "stock": choice.randrange(5),
            "price": choice.choice([None, Decimal("1.10"), Decimal("2.00")]),
            "tags": [],
            "parent_id": choice.choice([None, parent]),
            "created_at": begin + timedelta(microseconds=choice.randrange(5)),
        }
        for n in range(60)
    ]
    async with database.engine.begin() as connection:
        await connection.execute(insert(Product), rows)
    return rows


async def every_page(
    database: Database, keyset: Keyset, limit: int, *, codec: CursorCodec = CODEC
) -> list[list[Any]]:
    pages: list[list[Any]] = []
    cursor: str | None = None
    while True:
        page = PageParams(limit, cursor, codec)
        rows = await fetch_page(database.reader, COLUMNS, keyset, page, filters={"q": None})
        pages.append(rows.items)
        cursor = rows.next_cursor
        if cursor is None:
            return pages


@pytest.mark.parametrize("keyset", ORDERS, ids=lambda keyset: keyset.name)
async def test_the_pages_together_are_the_whole_list_in_the_databases_own_order(
    database: Database, products: list[dict[str, Any]], keyset: Keyset
) -> None:
    whole = await database.reader.all(COLUMNS.order_by(*keyset.order_by))
    for limit in (1, 7, 60):
        pages = await every_page(database, keyset, limit)
        assert [row for page in pages for row in page] == whole
        assert all(len(page) == limit for page in pages[:-1])


async def test_the_last_full_page_has_no_next_cursor(
    database: Database, products: list[dict[str, Any]]
) -> None:
    pages = await every_page(database, ORDERS[0], 30)
    assert [len(page) for page in pages] == [30, 30]


async def test_a_row_inserted_before_the_place_does_not_shift_the_next_page(
    database: Database, products: list[dict[str, Any]]
) -> None:
    keyset = ORDERS[0]
    first = await fetch_page(database.reader, COLUMNS, keyset, PageParams(10, None, CODEC))
    expected = await fetch_page(
        database.reader, COLUMNS, keyset, PageParams(10, first.next_cursor, CODEC)
    )
    async with database.engine.begin() as connection:
        await connection.execute(
            insert(Product).values(name="early", stock=-1, tags=[], price=None)
        )
    again = await fetch_page(
        database.reader, COLUMNS, keyset, PageParams(10, first.next_cursor, CODEC)
    )
    assert again.items == expected.items


async def test_a_deep_page_goes_straight_to_its_place_in_the_index(
    database: Database, sql_log: SqlLog
) -> None:
    async with database.engine.begin() as connection:
        await connection.execute(
            text(
                "INSERT INTO products (id, name, stock, tags) "
                "SELECT gen_random_uuid(), 'n' || n, n, '{}' FROM generate_series(1, 20000) AS n"
            )
        )
        await connection.execute(text("ANALYZE products"))
    keyset = Keyset("stock", Product.stock, Product.id)
    place = [19_000, str(uuid.UUID(int=0))]
    condition, values = keyset.after(place)
    statement = COLUMNS.where(condition).order_by(*keyset.order_by).limit(21).params(values)
    async with database.engine.connect() as connection:
        compiled = statement.compile(database.engine, compile_kwargs={"literal_binds": True})
        plan = "\n".join(await connection.scalars(text(f"EXPLAIN (ANALYZE) {compiled}")))
    assert "Index Cond: (ROW(stock, id) > ROW(19000" in plan
    assert "Rows Removed by Filter" not in plan


@pytest.mark.parametrize(
    "change",
    [
        lambda cursor: cursor[:-2],
        lambda cursor: ("A" if cursor[0] != "A" else "B") + cursor[1:],
        lambda cursor: cursor + "AAAA",
        lambda _: "",
        lambda _: "not base64 !",
        lambda _: "ü",
        lambda _: "\0",
        lambda _: "AAAA" * 300,
    ],
)
def test_an_altered_cursor_is_refused(change: Any) -> None:
    cursor = CODEC.encode([1, "x"], b"context")
    assert CODEC.decode(cursor, b"context") == [1, "x"]
    with pytest.raises(InvalidCursor):
        CODEC.decode(change(cursor), b"context")


async def test_a_cursor_is_refused_for_another_order_or_other_filters(
    database: Database, products: list[dict[str, Any]]
) -> None:
    first = await fetch_page(
        database.reader, COLUMNS, ORDERS[0], PageParams(5, None, CODEC), filters={"q": "a"}
    )
    page = PageParams(5, first.next_cursor, CODEC)
    for keyset, filters in ((ORDERS[1], {"q": "a"}), (ORDERS[0], {"q": "b"}), (ORDERS[0], {})):
        with pytest.raises(InvalidCursor):
            await fetch_page(database.reader, COLUMNS, keyset, page, filters=filters)


async def test_a_cursor_signed_with_a_replaced_key_is_still_good() -> None:
    old, new = "o" * 40, "n" * 40
    cursor = CursorCodec([old]).encode([1], b"")
    assert CursorCodec([new, old]).decode(cursor, b"") == [1]
    with pytest.raises(InvalidCursor):
        CursorCodec([new]).decode(cursor, b"")


async def test_a_list_read_again_is_not_built_again(
    database: Database, products: list[dict[str, Any]]
) -> None:
    statement = COLUMNS.where(Product.stock < bindparam("below"))
    keyset = ORDERS[1]
    cursor = None
    for below in (4, 3):
        found = []
        for _ in range(3):
            rows = await fetch_page(
                database.reader,
                statement,
                keyset,
                PageParams(5, cursor, CODEC),
                filters={"below": below},
                parameters={"below": below},
            )
            cursor = rows.next_cursor
            found += [row.stock for row in rows.items]
        cursor = None
        assert found == sorted(found, reverse=True)
        assert max(found) == below - 1
    assert len(_pages[statement]) == 2


async def test_statements_of_one_call_are_not_kept(
    database: Database, products: list[dict[str, Any]]
) -> None:
    gc.collect()
    kept = len(_pages), len(database.reader._accepted)
    statement = COLUMNS
    for stock in range(50):
        statement = COLUMNS.where(Product.stock != stock)
        await fetch_page(database.reader, statement, ORDERS[0], PageParams(5, None, CODEC))
    statement = COLUMNS
    gc.collect()
    assert len(_pages) == kept[0]
    assert len(database.reader._accepted) <= kept[1] + 1  # SQLAlchemy's cache keeps one of a shape


def test_values_that_do_not_fit_the_columns_are_refused() -> None:
    wrong: list[list[Any]] = [[], ["x", "y"], [1, 2, 3], [1, "no uuid"], [{}, None]]
    for values in wrong:
        with pytest.raises(InvalidCursor):
            ORDERS[0].after(values)
