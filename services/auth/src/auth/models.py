"""Tables of auth: accounts, sessions, OAuth clients, signing keys, revocations, the audit log."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, LargeBinary, func, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from service_platform.database.models import COLUMN_TYPES, Identified, Timestamped, new_metadata
from service_platform.events.models import OutboxTable


class Base(DeclarativeBase):
    """Everything in auth's database."""

    metadata = new_metadata()
    type_annotation_map = COLUMN_TYPES


class Account(Identified, Timestamped, Base):
    """A person who can log in.

    `email` is shown as it was written; `email_key` is the same address in the one form that all its
    spellings share (see `email_addresses.py`).
    """

    __tablename__ = "accounts"

    email: Mapped[str]
    email_key: Mapped[str] = mapped_column(unique=True)
    full_name: Mapped[str | None]
    password_hash: Mapped[str]
    password_changed_at: Mapped[datetime] = mapped_column(server_default=func.now())
    roles: Mapped[list[str]] = mapped_column(server_default=text("'{}'"))
    is_active: Mapped[bool] = mapped_column(server_default=text("true"))
    sessions_ended_at: Mapped[int] = mapped_column(
        BigInteger(),
        server_default=text("0"),
        doc="Milliseconds since the epoch: sessions begun until then are over.",
    )


class Session(Identified, Base):
    """One login: a family of refresh tokens, of which only the latest number is known.

    A refresh token is the session's id, its number and a MAC made of the row's secret and
    SECRET_KEY: neither the database nor the key alone makes one (see `refresh_tokens.py`).
    """

    __tablename__ = "sessions"

    account_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"))
    client_id: Mapped[str]
    scope: Mapped[str]
    secret: Mapped[bytes] = mapped_column(LargeBinary())
    counter: Mapped[int] = mapped_column(server_default=text("0"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    last_used_at: Mapped[datetime] = mapped_column(server_default=func.now())
    rotated_at: Mapped[datetime] = mapped_column(server_default=func.now())
    idle_until: Mapped[datetime]
    expires_at: Mapped[datetime]
    user_agent: Mapped[str | None]
    address: Mapped[str | None]
    ended_at: Mapped[datetime | None]
    end_reason: Mapped[str | None]

    __table_args__ = (
        Index("ix_sessions_account_id", "account_id", postgresql_where=text("ended_at IS NULL")),
        Index("ix_sessions_idle_until", "idle_until"),
    )


class Client(Identified, Timestamped, Base):
    """An OAuth client other than the built-in first-party one.

    `secret_hash` is SHA-256: the secret is random with 256 bits, there is nothing to guess.
    """

    __tablename__ = "clients"

    client_id: Mapped[str] = mapped_column(unique=True)
    description: Mapped[str] = mapped_column(server_default=text("''"))
    secret_hash: Mapped[bytes | None] = mapped_column(LargeBinary())
    grant_types: Mapped[list[str]]
    scopes: Mapped[list[str]]


class SigningKey(Base):
    """A key pair for access tokens; the private half is encrypted by SECRET_KEY.

    It is published from `created_at` on, signs from `activates_at` on while it is the latest, and
    is accepted until `expires_at`, set when a successor is made.
    """

    __tablename__ = "signing_keys"

    id: Mapped[str] = mapped_column(primary_key=True)
    algorithm: Mapped[str]
    public_key: Mapped[dict[str, Any]]
    private_key: Mapped[bytes] = mapped_column(LargeBinary())
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    activates_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]


class RevocationRecord(Identified, Base):
    """A revocation to be told to every service, written with the change that causes it.

    Kept until no token it concerns can be alive, so that a Redis that lost its data gets it again.
    """

    __tablename__ = "revocations"

    kind: Mapped[str]
    subject: Mapped[uuid.UUID | None]
    at: Mapped[int] = mapped_column(BigInteger())
    until: Mapped[int] = mapped_column(BigInteger())
    spared: Mapped[uuid.UUID | None]
    published_at: Mapped[datetime | None]

    __table_args__ = (
        Index("ix_revocations_unpublished", "id", postgresql_where=text("published_at IS NULL")),
    )


class AuditEntry(Identified, Base):
    """A security-relevant event, written in the transaction that causes it (see `audit.py`).

    There are no foreign keys: it outlives accounts, sessions and clients.
    """

    __tablename__ = "audit"

    occurred_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    event: Mapped[str]
    account_id: Mapped[uuid.UUID | None]
    actor_id: Mapped[uuid.UUID | None]
    client_id: Mapped[str | None]
    session_id: Mapped[uuid.UUID | None]
    address: Mapped[str | None]
    request_id: Mapped[str | None]
    details: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))

    __table_args__ = (
        Index(None, "occurred_at", "id"),
        Index(None, "event", "occurred_at"),
        Index(None, "account_id", "occurred_at"),
        Index(None, "actor_id", "occurred_at"),
    )


class Outbox(OutboxTable, Base):
    """Account events on their way to other services."""


class ClosedAccount(Base):
    """An account that was erased: its id and nothing else, so that every service can be told."""

    __tablename__ = "closed_accounts"

    account_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    closed_at: Mapped[datetime] = mapped_column(server_default=func.now())
