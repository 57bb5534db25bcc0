"""Queries about the audit log."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import delete, desc, func, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from auth.models import AuditEntry
from service_platform.database import Reader
from service_platform.database.rows import page_of
from service_platform.pagination import Keyset, KeysetPage, PageParams, fetch_page


class AuditRow(NamedTuple):
    """One event of the audit log."""

    id: UUID
    occurred_at: datetime
    event: str
    account_id: UUID | None
    actor_id: UUID | None
    client_id: str | None
    session_id: UUID | None
    address: str | None
    request_id: str | None
    details: dict[str, Any]


AUDIT_COLUMNS: Final = (
    AuditEntry.id,
    AuditEntry.occurred_at,
    AuditEntry.event,
    AuditEntry.account_id,
    AuditEntry.actor_id,
    AuditEntry.client_id,
    AuditEntry.session_id,
    AuditEntry.address,
    AuditEntry.request_id,
    AuditEntry.details,
)
_NEWEST: Final = Keyset("-occurred_at", desc(AuditEntry.occurred_at), desc(AuditEntry.id))


async def add_audit_event(session: AsyncSession, values: Mapping[str, Any]) -> None:
    """Write an event in the caller's transaction."""
    await session.execute(insert(AuditEntry).values(values))


async def page_of_audit(
    reader: Reader,
    page: PageParams,
    *,
    event: str | None = None,
    account_id: UUID | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> KeysetPage[AuditRow]:
    """Return the events that match every filter, the newest first.

    Args:
        reader: runs the query.
        page: which page.
        event: name of the event.
        account_id: the account it concerns, or that did it.
        since: not before.
        until: before.
    """
    statement = select(*AUDIT_COLUMNS)
    if event is not None:
        statement = statement.where(AuditEntry.event == event)
    if account_id is not None:
        statement = statement.where(
            (AuditEntry.account_id == account_id) | (AuditEntry.actor_id == account_id)
        )
    if since is not None:
        statement = statement.where(AuditEntry.occurred_at >= since)
    if until is not None:
        statement = statement.where(AuditEntry.occurred_at < until)
    filters = {"event": event, "account_id": account_id, "since": since, "until": until}
    return page_of(AuditRow, await fetch_page(reader, statement, _NEWEST, page, filters=filters))


async def delete_old_audit_events(session: AsyncSession, kept: timedelta, limit: int) -> int:
    """Delete events older than `kept`, at most `limit`; returns how many."""
    old = (
        select(AuditEntry.id)
        .where(AuditEntry.occurred_at < func.now() - kept)
        .order_by(AuditEntry.occurred_at)
        .limit(limit)
    )
    deleted = await session.scalars(
        delete(AuditEntry)
        .where(AuditEntry.id.in_(old))
        .returning(AuditEntry.id)
        .execution_options(synchronize_session=False)
    )
    return len(deleted.all())
