"""Declares what all tables have in common: constraint names, column types, id and timestamps.

A service's `models.py` begins with a declarative base of its own, so that the tables of two
services never meet in one `MetaData`:

    class Base(DeclarativeBase):
        metadata = new_metadata()
        type_annotation_map = COLUMN_TYPES

    class Book(Identified, Timestamped, Versioned, Base):
        __tablename__ = "books"
        name: Mapped[str]
"""

import uuid
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import DateTime, MetaData, Numeric, Text, Uuid, func, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, declared_attr, mapped_column

from service_platform.ids import new_id

NAMING_CONVENTION: Final = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
"""Names that migrations and `errors.database.on_violation` can rely on."""

COLUMN_TYPES: Final[dict[Any, Any]] = {
    uuid.UUID: Uuid(),
    str: Text(),
    datetime: DateTime(timezone=True),
    Decimal: Numeric(12, 2),
    list[str]: ARRAY(Text()),
    dict[str, Any]: JSONB(),
}
"""Column types by annotation: text without a length, times with a time zone."""


def new_metadata() -> MetaData:
    """Make an empty `MetaData` with the naming convention of constraints."""
    return MetaData(naming_convention=NAMING_CONVENTION)


class Identified:
    """A UUIDv7 primary key, made by the service."""

    id: Mapped[uuid.UUID] = mapped_column(Uuid(), primary_key=True, default=new_id, sort_order=-100)


class Timestamped:
    """When the row was made and last changed, by the database's clock."""

    created_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=func.now(), sort_order=100
    )
    updated_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=func.now(), onupdate=func.now(), sort_order=101
    )


class Versioned:
    """A version that counts changes made through the ORM: the `ETag` of the row (see `etags.py`).

    SQLAlchemy adds `WHERE version = <the one read>` to each update, so that of two concurrent
    changes one fails with `StaleDataError`.
    """

    version: Mapped[int] = mapped_column(server_default=text("1"), sort_order=102)

    @declared_attr.directive
    @classmethod
    def __mapper_args__(cls) -> dict[str, Any]:
        return {"version_id_col": cls.version}


__all__ = [
    "COLUMN_TYPES",
    "NAMING_CONVENTION",
    "Identified",
    "Timestamped",
    "Versioned",
    "new_metadata",
]
