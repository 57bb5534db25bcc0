"""The accelerated reader against SQLAlchemy's: the same rows, types and errors for every statement.

A statement is run more often than SQLAlchemy runs it itself before the driver is asked directly.
"""

import asyncio
import enum
import math
import pickle
import uuid
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pytest
from pydantic import SecretStr
from shop.models import Product
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Date,
    DateTime,
    Enum,
    Float,
    Integer,
    Interval,
    LargeBinary,
    Numeric,
    Row,
    Select,
    SmallInteger,
    String,
    Text,
    Time,
    TypeDecorator,
    Uuid,
    bindparam,
    case,
    cast,
    column,
    event,
    exists,
    func,
    insert,
    literal,
    literal_column,
    null,
    select,
    text,
    tuple_,
)
from sqlalchemy.dialects.postgresql import INET, INT4RANGE, JSON, JSONB, Range, array
from sqlalchemy.exc import DBAPIError, InvalidRequestError, SQLAlchemyError
from sqlalchemy.orm import aliased
from sqlalchemy.types import TypeEngine

from service_platform.acceleration.reader import AcceleratedReader
from service_platform.database import Database, Reader
from service_platform.errors import ServiceUnavailable
from service_platform.errors.database import database_problem
from service_platform.settings import PlatformSettings

RUNS = 4
MOMENT = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
ID = uuid.UUID(int=7)


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Lower(TypeDecorator[str]):
    """A type of a service's own, which converts both ways."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: object) -> str | None:
        if value == "refused":
            raise ValueError(value)
        return None if value is None else value.upper()

    def process_result_value(self, value: str | None, dialect: object) -> str | None:
        return None if value is None else value.lower()


@pytest.fixture
async def readers(database: Database) -> AsyncIterator[tuple[Reader, AcceleratedReader]]:
    """SQLAlchemy's and the accelerated one, on one pool, with three products."""
    rows = [
        {
            "id": uuid.UUID(int=n + 7),
            "name": f"p{n}",
            "stock": n,
            "price": None if n == 1 else Decimal("1.50") * n,
            "tags": ["a", f"t{n}"][: 2 * n],
        }
        for n in range(3)
    ]
    async with database.engine.begin() as connection:
        await connection.execute(insert(Product), rows)
        await connection.execute(text("CREATE TYPE mood AS ENUM ('happy', 'sad')"))
    yield Reader(database.engine), AcceleratedReader(database.engine)
    async with database.engine.begin() as connection:
        await connection.execute(text("DROP TYPE mood"))


async def outcome(
    reader: Reader, statement: Select[*tuple[Any, ...]], parameters: Mapping[str, Any] | None
) -> Any:
    """All that can be seen of the rows, or of the error."""
    try:
        rows: list[Row[*tuple[Any, ...]]] = await reader.all(statement, parameters)
    except (SQLAlchemyError, ValueError, TypeError) as error:
        original = getattr(error, "orig", None)
        return type(error), str(error), type(original), getattr(original, "sqlstate", None)
    columns = list(statement.selected_columns)
    seen: list[Any] = [[type(row) for row in rows], len(rows)]
    for row in rows:
        seen += [
            tuple(map(repr, row)),
            row._fields,
            repr(row._asdict()),
            [type(value) for value in row],
        ]
        seen.append(repr(pickle.loads(pickle.dumps(row))))
        seen += [_value(row, each) for each in columns]
    return seen


def _value(row: Row[*tuple[Any, ...]], key: Any) -> Any:
    try:
        return repr(row._mapping[key])
    except InvalidRequestError as error:
        return str(error)


async def same_outcome(
    readers: tuple[Reader, AcceleratedReader],
    statement: Select[*tuple[Any, ...]],
    parameters: Mapping[str, Any] | None = None,
) -> Any:
    plain, accelerated = readers
    expected = await outcome(plain, statement, parameters)
    for _ in range(RUNS):
        assert await outcome(accelerated, statement, parameters) == expected
    return expected


def is_accelerated(reader: AcceleratedReader, statement: Select[*tuple[Any, ...]]) -> bool:
    return reader._compiled.get(statement) is not None


VALUES: list[tuple[Any, TypeEngine[Any]]] = [
    (None, Integer()),
    (-1, SmallInteger()),
    (2**31 - 1, Integer()),
    (-(2**63), BigInteger()),
    (Decimal("0.10"), Numeric(12, 2)),
    (Decimal("0.10"), Numeric(12, 2, asdecimal=False)),
    (Decimal("1e-20"), Numeric()),
    (Decimal("NaN"), Numeric()),
    (0.1, Float()),
    (0.1, Float(53)),
    (0.1, Float(asdecimal=True)),
    (-math.inf, Float()),
    (True, Boolean()),
    ("ü\n'\"\\ 😀", Text()),
    ("", String(10)),
    (b"\0\xff", LargeBinary()),
    (ID, Uuid()),
    (str(ID), Uuid(as_uuid=False)),
    (MOMENT, DateTime(timezone=True)),
    (MOMENT.replace(tzinfo=None), DateTime()),
    (date(1, 1, 1), Date()),
    (time(23, 59, 59, 999_999), Time()),
    (timedelta(days=-3, microseconds=1), Interval()),
    (Colour.RED, Enum(Colour, native_enum=False)),
    ("sad", Enum("happy", "sad", name="mood")),
    (["sad"], ARRAY(Enum("happy", "sad", name="mood"))),
    ({"a": [1, None, "ü"]}, JSONB()),
    ([1.5, {"b": None}], JSON()),
    (None, JSONB()),
    (["x", None], ARRAY(Text())),
    ([[1, 2], [3, 4]], ARRAY(Integer(), dimensions=2)),
    ([Decimal("1.5"), None], ARRAY(Numeric())),
    ([0.5], ARRAY(Float())),
    ([ID], ARRAY(Uuid())),
    ([], ARRAY(BigInteger())),
    (Range(1, 5), INT4RANGE()),
    ("10.0.0.0/8", INET()),
    ("Mixed", Lower()),
]


@pytest.mark.parametrize(("value", "kind"), VALUES, ids=lambda each: repr(each)[:30])
async def test_values_of_every_type_are_the_same(
    readers: tuple[Reader, AcceleratedReader], value: Any, kind: TypeEngine[Any]
) -> None:
    constant = select(cast(literal(value, kind), kind).label("value"))
    named = select(cast(bindparam("value", type_=kind), kind).label("value"))
    await same_outcome(readers, constant)
    await same_outcome(readers, named, {"value": value})
    await same_outcome(readers, named, {"value": None})
    assert is_accelerated(readers[1], constant)
    assert is_accelerated(readers[1], named)


twin = aliased(Product)

STATEMENTS: dict[str, tuple[Select[*tuple[Any, ...]], dict[str, Any] | None]] = {
    "columns": (select(Product.id, Product.name, Product.price, Product.tags), None),
    "labels": (select(Product.name.label("label"), (Product.stock * 2).label("twice")), None),
    "no rows": (select(Product.name).where(Product.name == "none"), None),
    "like": (select(Product.name).where(Product.name.like("%\\%%")), None),
    "same name twice": (select(Product.name, twin.name).where(Product.id == twin.id), None),
    "same column twice": (select(Product.name, Product.name), None),
    "anonymous": (select(Product.stock + 1, func.now() > MOMENT, literal("x")), None),
    "functions": (
        select(func.count(), func.sum(Product.price), func.avg(Product.stock), func.max(ID)),
        None,
    ),
    "aggregates": (
        select(func.array_agg(Product.name), func.json_agg(Product.stock), func.min(Product.price)),
        None,
    ),
    "group": (select(Product.stock % 2, func.count()).group_by(Product.stock % 2), None),
    "window": (select(Product.name, func.rank().over(order_by=Product.stock)), None),
    "case": (select(case((Product.stock > 1, "many"), else_="few").label("amount")), None),
    "null": (select(null(), literal(None)), None),
    "exists": (select(exists().where(Product.stock > 1)), None),
    "subquery": (select(select(func.count(Product.id)).scalar_subquery()), None),
    "cte": (select(select(Product.name).cte("names").c.name), None),
    "array": (select(array([Product.stock, 5])), None),
    "tuple": (select(Product.name).where(tuple_(Product.stock, Product.name) > (0, "p1")), None),
    "text": (select(text("name, stock * 1.5 AS more FROM products ORDER BY 1")), None),
    "text column": (select(literal_column("1.5::float8", Numeric).label("n")), None),
    "quoted names": (select(literal(1).label('Odd "näme" %(x)s :y $1')), None),
    "attribute": (select(literal(1).label("count"), literal(2).label("index")), None),
    "in list": (select(Product.name).where(Product.stock.in_([0, 2])), None),
    "in empty": (select(Product.name).where(Product.stock.in_([])), None),
    "in named": (
        select(Product.name).where(Product.stock.in_(bindparam("n", expanding=True))),
        {"n": [1, 2]},
    ),
    "literal execute": (
        select(Product.name).where(Product.stock == bindparam("n", literal_execute=True)),
        {"n": 1},
    ),
    "any": (
        select(Product.name).where(Product.stock == func.any(literal([1], ARRAY(Integer)))),
        None,
    ),
    "limit": (select(Product.name).order_by(Product.name).limit(bindparam("n")), {"n": 2}),
    "default": (select(Product.name).where(Product.stock < bindparam("n", 1)), {}),
    "default replaced": (select(Product.name).where(Product.stock < bindparam("n", 1)), {"n": 9}),
    "unknown parameter": (select(Product.name).where(Product.stock == 1), {"x": 1}),
    "own parameters": (
        select(Product.name).where(Product.stock == bindparam("n")).params(n=1),
        None,
    ),
    "callable": (
        select(Product.name).where(Product.stock == bindparam("n", callable_=lambda: 1)),
        None,
    ),
    "type decorator": (select(Product.name).where(literal("p1", Lower()) == Product.name), None),
    "options": (select(Product.name).execution_options(logging_token="x"), None),
    "for update": (select(Product.name).with_for_update(skip_locked=True), None),
    "missing parameter": (select(Product.name).where(Product.stock == bindparam("n")), {}),
    "refused value": (select(literal("refused", Lower())), None),
    "wrong type": (select(bindparam("n", type_=Integer)), {"n": "secret"}),
    "too large": (select(bindparam("n", type_=Integer)), {"n": 2**31}),
    "NUL": (select(bindparam("n", type_=Text)), {"n": "secret\0"}),
    "division by zero": (select(literal(1) / bindparam("n", type_=Integer)), {"n": 0}),
    "no such table": (select(column("x")).select_from(text("missing")), None),
    "no such column": (select(literal_column("missing")).select_from(Product), None),
    "syntax": (select(text("1 1 1")), None),
    "raised state": (select(text("set_config('work_mem', 'x', false)")), None),
    "entity": (select(Product), None),
    "alias": (select(twin), None),
    "column and entity": (select(Product.name, Product), None),
}


@pytest.mark.parametrize("name", STATEMENTS)
async def test_rows_and_errors_are_the_same(
    readers: tuple[Reader, AcceleratedReader], name: str
) -> None:
    statement, parameters = STATEMENTS[name]
    seen = await same_outcome(readers, statement, parameters)
    assert "secret" not in repr(seen)


EXECUTED_BY_SQLALCHEMY = {
    "in list",
    "in empty",
    "in named",
    "literal execute",
    "own parameters",
    "options",
}


async def test_statements_of_fixed_sql_are_accelerated(
    readers: tuple[Reader, AcceleratedReader],
) -> None:
    reader = readers[1]
    for name, (statement, parameters) in STATEMENTS.items():
        seen = await same_outcome(readers, statement, parameters)
        failed = isinstance(seen, tuple)
        assert is_accelerated(reader, statement) == (
            not failed and name not in EXECUTED_BY_SQLALCHEMY
        ), name


async def test_a_statement_built_for_each_call_has_its_own_values(
    readers: tuple[Reader, AcceleratedReader],
) -> None:
    for stock in [*range(3), *range(3)]:
        for _ in range(RUNS):
            statement: Select[str] = select(Product.name).where(Product.stock == stock)
            assert await readers[1].scalar(statement) == f"p{stock}"


async def test_equal_statements_do_not_share_values(
    readers: tuple[Reader, AcceleratedReader],
) -> None:
    statements = [select(Product.name).where(Product.stock == stock) for stock in range(3)]
    for _ in range(RUNS):
        assert [await readers[1].scalar(each) for each in statements] == ["p0", "p1", "p2"]
    assert all(is_accelerated(readers[1], each) for each in statements)


async def test_a_failing_read_is_the_same_and_leaves_a_usable_connection(
    readers: tuple[Reader, AcceleratedReader], database: Database
) -> None:
    divide = select(literal(1) / bindparam("n", type_=Integer))
    for reader in readers:
        for n in (1, 1, 1, 0, 1, 0):
            if n:
                assert await reader.scalar(divide, {"n": n}) == 1
                continue
            with pytest.raises(DBAPIError) as caught:
                await reader.scalar(divide, {"n": n})
            assert getattr(caught.value.orig, "sqlstate", None) == "22012"
            assert not caught.value.connection_invalidated
    assert database.pool_usage()[0] == 0


async def test_a_statement_that_takes_too_long_is_the_same(
    readers: tuple[Reader, AcceleratedReader], database: Database
) -> None:
    asleep = select(func.pg_sleep(bindparam("s", type_=Float)))
    limited = select(func.set_config("statement_timeout", "50", False))
    for reader in readers:
        for _ in range(3):
            await reader.scalar(asleep, {"s": 0.0})
        await reader.scalar(limited)
        with pytest.raises(DBAPIError) as caught:
            await reader.scalar(asleep, {"s": 5.0})
        assert getattr(caught.value.orig, "sqlstate", None) == "57014"
    assert database.pool_usage()[0] == 0


async def test_a_read_whose_connection_is_lost_is_run_again_on_another(
    readers: tuple[Reader, AcceleratedReader], database: Database
) -> None:
    """The first run ends its connection; the second finds that it was done."""
    once = select(
        case(
            (
                func.nextval("turns") % 2 == 1,
                func.pg_terminate_backend(func.pg_backend_pid()),
            ),
            else_=literal(False),
        )
    )
    always = select(func.pg_terminate_backend(bindparam("pid", type_=Integer)))
    own = select(func.pg_terminate_backend(func.pg_backend_pid()))
    async with database.engine.begin() as connection:
        await connection.execute(text("CREATE SEQUENCE turns"))
    for reader in readers:
        for _ in range(RUNS):
            assert await reader.scalar(once) is False
            assert await reader.scalar(always, {"pid": 0}) is False
            with pytest.raises(SQLAlchemyError) as caught:
                await reader.scalar(own)
            assert isinstance(database_problem(caught.value), ServiceUnavailable)
    assert database.pool_usage()[0] == 0


async def test_a_connection_that_is_too_old_is_replaced(
    readers: tuple[Reader, AcceleratedReader], database: Database
) -> None:
    pool: Any = database.engine.pool
    pid: Select[int] = select(func.pg_backend_pid())
    for reader in readers:
        before = {await reader.scalar(pid) for _ in range(RUNS)}
        await asyncio.sleep(0.02)
        pool.replace_all()
        after = {await reader.scalar(pid) for _ in range(RUNS)}
        assert (len(before), len(after), before & after) == (1, 1, set())
    assert database.pool_usage()[0] == 0


async def test_a_cancelled_read_is_cancelled_on_the_server_both_ways(
    readers: tuple[Reader, AcceleratedReader], database: Database
) -> None:
    asleep = select(func.pg_sleep(bindparam("s", type_=Float)))
    sleeping = select(func.count()).select_from(
        text("pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'")
    )
    for reader in readers:
        for seconds in (0.0, 0.0, 0.0):
            await reader.scalar(asleep, {"s": seconds})
        reading = asyncio.create_task(reader.scalar(asleep, {"s": 30.0}))
        await asyncio.sleep(0.05)
        assert await reader.scalar(sleeping) == 1
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        assert await reader.scalar(sleeping) == 0
        assert database.pool_usage()[0] == 0


async def test_a_column_whose_type_a_migration_changes_is_read_on(
    readers: tuple[Reader, AcceleratedReader], database: Database
) -> None:
    statement: Select[Any] = select(literal_column("stock").label("stock")).select_from(Product)
    for reader in readers:
        for _ in range(RUNS):
            assert {type(value) for value in await reader.scalars(statement)} == {int}
    async with database.engine.begin() as connection:
        await connection.execute(text("ALTER TABLE products ALTER stock TYPE text"))
    for reader in readers:
        for _ in range(RUNS):
            assert {type(value) for value in await reader.scalars(statement)} == {str}


async def test_who_listens_to_the_engine_hears_of_every_statement(
    readers: tuple[Reader, AcceleratedReader], database: Database
) -> None:
    statement = select(Product.name).where(Product.stock == 1)
    heard: list[str] = []

    def listen(_conn: object, _cursor: object, sql: str, *_: object) -> None:
        heard.append(sql)

    for _ in range(RUNS):
        await readers[1].scalar(statement)
    assert is_accelerated(readers[1], statement)
    event.listen(database.engine.sync_engine, "before_cursor_execute", listen)
    for _ in range(RUNS):
        assert await readers[1].scalar(statement) == "p1"
    assert len(heard) == RUNS
    event.remove(database.engine.sync_engine, "before_cursor_execute", listen)
    await readers[1].scalar(statement)
    assert len(heard) == RUNS


@pytest.mark.parametrize(("acceleration", "kind"), [(True, AcceleratedReader), (False, Reader)])
async def test_the_setting_chooses_the_reader(
    database_url: str, acceleration: bool, kind: type[Reader]
) -> None:
    settings = PlatformSettings(
        _env_file=None,
        environment="test",
        database_url=SecretStr(database_url),
        acceleration=acceleration,
    )
    database = Database(settings, migrations="shop.migrations")
    assert type(database.reader) is kind
    await database.stop()
