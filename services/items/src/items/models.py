"""Tables of items: items, exports, closed accounts, and those of the platform."""

import uuid
from datetime import datetime
from decimal import Decimal

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Computed,
    ForeignKey,
    Index,
    LargeBinary,
    Numeric,
    func,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from service_platform.database import (
    COLUMN_TYPES,
    Identified,
    Timestamped,
    Versioned,
    new_metadata,
)
from service_platform.database.search import tsvector_of
from service_platform.events.models import InboxSubjectTable, InboxTable
from service_platform.idempotency import idempotency_table
from service_platform.jobs import job_tables
from service_platform.webhooks import webhook_tables


class Base(DeclarativeBase):
    """Base of all tables of items."""

    metadata = new_metadata()
    type_annotation_map = COLUMN_TYPES


class Item(Identified, Timestamped, Versioned, Base):
    """An item of an account.

    Every order a list can have is an index that begins with the owner and ends with the id, so a
    page costs the same however deep it lies. `price_order` is the price, and behind every price
    for items without one, so that it is never NULL and the index answers that order too.
    """

    __tablename__ = "items"

    owner_id: Mapped[uuid.UUID]
    name: Mapped[str]
    description: Mapped[str | None]
    price: Mapped[Decimal | None]
    tags: Mapped[list[str]] = mapped_column(server_default=text("'{}'"))
    price_order: Mapped[Decimal] = mapped_column(
        Numeric(13, 2), Computed("coalesce(price, 10000000000)", persisted=True), deferred=True
    )
    words: Mapped[str] = tsvector_of("name", "description")

    __table_args__ = (
        CheckConstraint("price >= 0", name="price_not_negative"),
        Index(None, "owner_id", "created_at", "id"),
        Index(None, "owner_id", "name", "id"),
        Index(None, "owner_id", "price_order", "id"),
        Index(None, "owner_id", "updated_at", "id"),
        Index(None, "tags", postgresql_using="gin"),
        Index(None, "words", postgresql_using="gin"),
    )


class Export(Identified, Base):
    """A file with all items of an account, which a job writes in chunks.

    The position is that of the last item in it: an attempt that was interrupted goes on there.
    """

    __tablename__ = "exports"

    owner_id: Mapped[uuid.UUID]
    format: Mapped[str]
    chunks: Mapped[int] = mapped_column(server_default=text("0"))
    items: Mapped[int] = mapped_column(server_default=text("0"))
    size: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    position_created_at: Mapped[datetime | None]
    position_id: Mapped[uuid.UUID | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    finished_at: Mapped[datetime | None]
    expires_at: Mapped[datetime]

    __table_args__ = (
        Index(None, "owner_id", "id"),
        Index(None, "expires_at"),
    )


class ExportChunk(Base):
    """A part of an export's file."""

    __tablename__ = "export_chunks"

    export_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("exports.id", ondelete="CASCADE"), primary_key=True
    )
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    data: Mapped[bytes] = mapped_column(LargeBinary)


class ClosedAccount(Base):
    """A closed account: a token that has not expired yet must not create items for it."""

    __tablename__ = "closed_accounts"

    account_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    closed_at: Mapped[datetime] = mapped_column(server_default=func.now())
    erase_at: Mapped[datetime | None] = mapped_column(
        server_default=func.now(),
        doc="When `erasure.py` deletes its items; NULL when done.",
    )

    __table_args__ = (
        Index(
            "ix_closed_accounts_erase_at",
            "erase_at",
            postgresql_where=text("erase_at IS NOT NULL"),
        ),
    )


class Inbox(InboxTable, Base):
    """Account events that were applied."""


class InboxSubject(InboxSubjectTable, Base):
    """The number of the last applied event of each account."""


idempotency_keys = idempotency_table(Base.metadata)
job_tables(Base.metadata)
webhook_tables(Base.metadata)
