"""Tables of the shop."""

import uuid
from decimal import Decimal

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from service_platform.database import (
    COLUMN_TYPES,
    Identified,
    Timestamped,
    Versioned,
    new_metadata,
)
from service_platform.idempotency import idempotency_table


class Base(DeclarativeBase):
    metadata = new_metadata()
    type_annotation_map = COLUMN_TYPES


class Product(Identified, Timestamped, Versioned, Base):
    __tablename__ = "products"

    name: Mapped[str] = mapped_column(unique=True)
    stock: Mapped[int]
    price: Mapped[Decimal | None]
    tags: Mapped[list[str]]
    parent_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("products.id"))

    __table_args__ = (Index(None, "stock", "id"), Index(None, "created_at", "id"))


idempotency_keys = idempotency_table(Base.metadata)
