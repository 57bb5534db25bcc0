"""Conventions of tables, as PostgreSQL and the ORM see them."""

import re
import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from shop.models import Base, Product
from sqlalchemy import MetaData, select, text
from sqlalchemy.exc import ArgumentError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.orm.exc import StaleDataError

from service_platform.database import COLUMN_TYPES, Database, Timestamped, new_metadata


async def test_constraints_have_the_names_that_the_code_relies_on(database: Database) -> None:
    async with database.session() as session:
        names = await session.scalars(
            text("SELECT conname FROM pg_constraint WHERE conrelid = 'products'::regclass")
        )
    assert {name for name in names if not name.endswith("_not_null")} == {
        "pk_products",
        "uq_products_name",
        "fk_products_parent_id_products",
    }
    indexes = {str(index.name) for index in Product.__table__.indexes}  # type: ignore[attr-defined]
    assert indexes == {"ix_products_stock_id", "ix_products_created_at_id"}


async def test_annotations_choose_the_column_types(database: Database) -> None:
    async with database.session() as session:
        rows = await session.execute(
            text(
                "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute"
                " WHERE attrelid = 'products'::regclass AND attnum > 0"
            )
        )
    assert {str(name): str(kind) for name, kind in rows} == {
        "id": "uuid",
        "name": "text",
        "stock": "integer",
        "price": "numeric(12,2)",
        "tags": "text[]",
        "parent_id": "uuid",
        "created_at": "timestamp with time zone",
        "updated_at": "timestamp with time zone",
        "version": "integer",
    }


async def test_a_row_gets_an_id_that_sorts_by_time_and_the_databases_clock(
    database: Database,
) -> None:
    async with database.session() as session:
        products = [Product(name=name, stock=1, price=Decimal(1), tags=[]) for name in "ab"]
        for product in products:
            session.add(product)
            await session.flush()
        await session.commit()
        first, second = products
        for product in products:
            await session.refresh(product)
    assert isinstance(first.id, uuid.UUID)
    assert first.id.version == 7
    assert first.id < second.id
    assert abs(datetime.now(UTC) - first.created_at) < timedelta(minutes=5)
    assert first.created_at == first.updated_at
    assert first.version == 1


async def test_a_change_counts_the_version_and_moves_the_time(database: Database) -> None:
    async with database.session() as session:
        product = Product(name="chair", stock=1, tags=[])
        session.add(product)
        await session.commit()
        await session.refresh(product)
        before = product.updated_at
        product.stock = 2
        await session.commit()
        await session.refresh(product)
    assert product.version == 2
    assert product.updated_at > before
    assert product.created_at == before


async def test_of_two_concurrent_changes_one_fails(database: Database) -> None:
    async with database.session() as session:
        session.add(Product(name="chair", stock=1, tags=[]))
        await session.commit()
    async with database.session() as first, database.session() as second:
        mine = (await first.scalars(select(Product))).one()
        theirs = (await second.scalars(select(Product))).one()
        mine.stock, theirs.stock = 2, 3
        await first.commit()
        with pytest.raises(StaleDataError):
            await second.commit()


def test_the_tables_of_two_services_do_not_meet() -> None:
    metadata = new_metadata()
    assert isinstance(metadata, MetaData)
    assert metadata.tables == {}
    assert metadata is not Base.metadata


def test_columns_of_the_conventions_stand_around_those_of_the_service() -> None:
    names = [column.name for column in Product.__table__.columns]
    assert names[0] == "id"
    assert names[-3:] == ["created_at", "updated_at", "version"]


def test_an_annotation_without_a_known_type_is_refused() -> None:
    class Own(DeclarativeBase):
        metadata = new_metadata()
        type_annotation_map = COLUMN_TYPES

    with pytest.raises(ArgumentError, match=re.escape("Could not locate SQLAlchemy Core type")):

        class Thing(Timestamped, Own):
            __tablename__ = "things"
            id: Mapped[int] = mapped_column(primary_key=True)
            odd: Mapped[complex]
