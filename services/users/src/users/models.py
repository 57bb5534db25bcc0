"""Tables of users: profiles, closed accounts."""

import uuid
from datetime import datetime

from sqlalchemy import Index, func
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from service_platform.database import COLUMN_TYPES, Timestamped, Versioned, new_metadata
from service_platform.database.search import tsvector_of
from service_platform.events.models import InboxSubjectTable, InboxTable


class Base(DeclarativeBase):
    """Base of all tables of users."""

    metadata = new_metadata()
    type_annotation_map = COLUMN_TYPES


class Profile(Timestamped, Versioned, Base):
    """The profile of an account. Its address comes from auth, the rest from the account's owner.

    `id` is the account's.
    """

    __tablename__ = "profiles"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    email: Mapped[str]
    full_name: Mapped[str | None]
    bio: Mapped[str | None]
    avatar_url: Mapped[str | None]
    locale: Mapped[str | None]
    words: Mapped[str] = tsvector_of("full_name", "email")

    __table_args__ = (Index(None, "words", postgresql_using="gin"),)


class ClosedAccount(Base):
    """A closed account: a token that has not expired yet must not bring its profile back."""

    __tablename__ = "closed_accounts"

    account_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    closed_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Inbox(InboxTable, Base):
    """Account events that were applied."""


class InboxSubject(InboxSubjectTable, Base):
    """The number of the last applied event of each account."""
