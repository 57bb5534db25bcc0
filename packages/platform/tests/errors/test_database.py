"""Every failure is provoked on a real PostgreSQL, through a session and through a reader."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from shop.models import Product
from sqlalchemy import ColumnElement, bindparam, cast, func, insert, literal, select, text, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from service_platform.database import Database, on_violation
from service_platform.errors import (
    Conflict,
    GatewayTimeout,
    Problem,
    ServiceUnavailable,
    ValidationFailed,
)
from service_platform.errors.database import _constraints, database_problem, violated_constraint


class NameTaken(Conflict):
    """The name is taken."""

    slug = "test-name-taken"
    default_message = "This name is taken."


async def problem_of(work: Awaitable[Any]) -> Problem | None:
    with pytest.raises(SQLAlchemyError) as caught:
        await work
    return database_problem(caught.value)


async def run_sql(database: Database, sql: str) -> Any:
    async with database.session() as session:
        return await session.execute(text(sql))


async def insert_product(database: Database, **values: Any) -> None:
    async with database.engine.begin() as connection:
        await connection.execute(
            insert(Product).values(**{"name": "chair", "stock": 1, "tags": [], **values})
        )


async def test_a_unique_violation_is_a_conflict(database: Database) -> None:
    await insert_product(database)
    problem = await problem_of(insert_product(database))
    assert type(problem) is Conflict
    assert "chair" not in problem.message


async def test_a_constraint_can_be_given_a_meaning(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service_platform.errors.database._constraints", dict(_constraints))
    on_violation("uq_products_name", NameTaken)
    on_violation("fk_products_parent_id_products", Conflict, "The parent does not exist.")
    await insert_product(database)
    taken = await problem_of(insert_product(database))
    assert isinstance(taken, NameTaken)
    orphan = await problem_of(insert_product(database, name="x", parent_id=uuid.uuid4()))
    assert orphan is not None
    assert (orphan.status, orphan.message) == (409, "The parent does not exist.")


async def test_the_violated_constraint_is_named(database: Database) -> None:
    await insert_product(database)
    with pytest.raises(SQLAlchemyError) as caught:
        await insert_product(database)
    assert violated_constraint(caught.value) == "uq_products_name"


async def test_a_stale_row_is_a_conflict(database: Database) -> None:
    await insert_product(database)
    async with database.session() as session:
        product = (await session.scalars(select(Product))).one()
        async with database.engine.begin() as connection:
            await connection.execute(update(Product).values(version=9))
        product.stock = 5
        assert isinstance(await problem_of(session.commit()), Conflict)


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("40001", ServiceUnavailable),
        ("40P01", ServiceUnavailable),
        ("55P03", ServiceUnavailable),
        ("25006", ServiceUnavailable),
        ("53300", ServiceUnavailable),
        ("53100", ServiceUnavailable),
        ("08006", ServiceUnavailable),
        ("57P03", ServiceUnavailable),
        ("57014", GatewayTimeout),
        ("23514", ValidationFailed),
        ("23P01", Conflict),
        ("22003", ValidationFailed),
        ("42P01", type(None)),
        ("42601", type(None)),
        ("23502", type(None)),
        ("XX000", type(None)),
    ],
)
async def test_a_state_has_its_problem(
    database: Database, state: str, expected: type[Problem]
) -> None:
    problem = await problem_of(
        run_sql(database, f"DO $$ BEGIN RAISE EXCEPTION 'secret' USING ERRCODE = '{state}'; END $$")
    )
    assert type(problem) is expected
    if problem is not None:
        assert "secret" not in problem.message
    if isinstance(problem, ServiceUnavailable):
        assert (problem.headers or {})["retry-after"]


async def through_session(database: Database, column: ColumnElement[Any]) -> Any:
    async with database.session() as session:
        return await session.scalar(select(column))


async def through_reader(database: Database, column: ColumnElement[Any]) -> Any:
    return await database.reader.scalar(select(column))


WAYS = [through_session, through_reader]
Way = Callable[[Database, ColumnElement[Any]], Awaitable[Any]]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("column", "value"),
    [
        (Product.name, "nul \0 byte"),
        (Product.name, "half a pair \ud800"),
        (Product.stock, 2**31),
        (Product.stock, -(2**63)),
        (Product.tags, ["\0"]),
    ],
    ids=["NUL", "surrogate", "too large", "too small", "NUL in a list"],
)
async def test_a_value_postgresql_cannot_hold_is_the_callers_mistake(
    database: Database, way: Way, column: Any, value: Any
) -> None:
    problem = await problem_of(way(database, column == bindparam(None, value, column.type)))
    assert type(problem) is ValidationFailed


@pytest.mark.parametrize("way", WAYS)
async def test_a_value_of_the_wrong_type_is_our_own_mistake(database: Database, way: Way) -> None:
    wrong = Product.stock == bindparam(None, "not a number", Product.stock.type)
    assert await problem_of(way(database, wrong)) is None


@pytest.mark.parametrize("way", WAYS)
async def test_a_connection_ended_by_an_administrator_is_worth_another_try(
    database: Database, way: Way
) -> None:
    problem = await problem_of(way(database, func.pg_terminate_backend(func.pg_backend_pid())))
    assert type(problem) is ServiceUnavailable
    assert await way(database, literal(1)) == 1


async def test_a_busy_pool_is_worth_another_try(database: Database) -> None:
    database.engine.sync_engine.pool._timeout = 0.05  # type: ignore[attr-defined]
    _, limit = database.pool_usage()
    held = [await database.engine.connect() for _ in range(limit)]
    problem = await problem_of(through_reader(database, literal(1)))
    assert type(problem) is ServiceUnavailable
    await asyncio.gather(*(connection.close() for connection in held))


async def test_a_statement_prepared_before_a_migration_is_run_again(database: Database) -> None:
    statement = select(text("*")).select_from(text("products"))
    async with database.session() as session:
        await insert_product(database)
        await session.execute(statement)
        await session.commit()
        before = await database.reader.all(statement)
        async with database.engine.begin() as connection:
            await connection.execute(text("ALTER TABLE products ADD COLUMN colour text"))
        after = await database.reader.all(statement)
        assert len(after) == len(before) == 1
        problem = await outdated(session, statement)
        assert problem is None or type(problem) is ServiceUnavailable


async def outdated(session: AsyncSession, statement: Any) -> Problem | None:
    try:
        await session.execute(statement)
    except SQLAlchemyError as error:
        return database_problem(error)
    return None


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "column",
    [
        Product.stock == bindparam(None, "secret", Product.stock.type),
        cast(literal("secret") + "", Product.id.type),
        Product.name == "secret\0",
    ],
    ids=["wrong type", "no uuid", "NUL"],
)
async def test_error_texts_hold_no_values(database: Database, way: Way, column: Any) -> None:
    with pytest.raises(SQLAlchemyError) as caught:
        await way(database, column)
    assert "secret" not in texts_of(caught.value)


async def test_error_texts_hold_no_rows(database: Database) -> None:
    with pytest.raises(SQLAlchemyError) as caught:
        await insert_product(database, name="a secret", stock=None)
    assert "secret" not in texts_of(caught.value)


def texts_of(error: BaseException | None) -> str:
    texts = []
    while error is not None and not isinstance(error, TypeError):
        texts.append(f"{error} {error!r}")
        error = error.__cause__
    return "\n".join(texts)
