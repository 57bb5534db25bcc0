"""The tables of outbox and inbox; a service adds those it needs to its own `Base`.

class Outbox(OutboxTable, Base):  # where it publishes
    pass

class Inbox(InboxTable, Base):  # where it consumes
    pass

class InboxSubject(InboxSubjectTable, Base):
    pass
"""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Identity, Index, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, declared_attr, mapped_column


class OutboxTable:
    """Published events, written with the change they report and kept for some time after the relay.

    `id` is the event's sequence number. `entry_ms` and `entry_seq` are the two halves of its id in
    the Redis stream, empty until it is there.
    """

    __tablename__ = "outbox"

    id: Mapped[int] = mapped_column(BigInteger(), Identity(), primary_key=True)
    event: Mapped[dict[str, Any]] = mapped_column(JSONB())
    recipient: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    entry_ms: Mapped[int | None] = mapped_column(BigInteger())
    entry_seq: Mapped[int | None] = mapped_column(BigInteger())

    @declared_attr.directive
    @classmethod
    def __table_args__(cls) -> tuple[Index, ...]:
        return (
            Index("ix_outbox_pending", "id", postgresql_where=text("entry_ms IS NULL")),
            Index(
                "ix_outbox_entry",
                "entry_ms",
                "entry_seq",
                postgresql_where=text("entry_ms IS NOT NULL"),
            ),
        )


class InboxTable:
    """Ids of the events that were applied, each written with the event's effect."""

    __tablename__ = "inbox"

    event_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    applied_at: Mapped[datetime] = mapped_column(server_default=func.now(), index=True)


class InboxSubjectTable:
    """The sequence number of the newest event that was applied to each subject."""

    __tablename__ = "inbox_subjects"

    stream: Mapped[str] = mapped_column(primary_key=True)
    subject: Mapped[str] = mapped_column(primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger())


__all__ = ["InboxSubjectTable", "InboxTable", "OutboxTable"]
