"""Queries about revocations on their way to the other services."""

import time
from collections.abc import Sequence
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from auth.models import RevocationRecord
from service_platform.database.rows import rows_of


class RevocationRow(NamedTuple):
    """A revocation; see `service_platform.identity.Revocation`."""

    id: UUID
    kind: str
    subject: UUID | None
    at: int
    until: int
    spared: UUID | None


REVOCATION_COLUMNS: Final = (
    RevocationRecord.id,
    RevocationRecord.kind,
    RevocationRecord.subject,
    RevocationRecord.at,
    RevocationRecord.until,
    RevocationRecord.spared,
)


async def add_revocation(session: AsyncSession, revocation: RevocationRow) -> None:
    """Write a revocation that is to be published."""
    await session.execute(insert(RevocationRecord).values(revocation._asdict()))


async def unpublished_revocations(session: AsyncSession, limit: int) -> list[RevocationRow]:
    """Return the oldest unpublished revocations that no other replica works on, locked."""
    found = await session.execute(
        select(*REVOCATION_COLUMNS)
        .where(RevocationRecord.published_at.is_(None))
        .order_by(RevocationRecord.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return rows_of(RevocationRow, found.all())


async def mark_published(session: AsyncSession, identifiers: Sequence[UUID]) -> None:
    """Note that these revocations are in the stream."""
    await session.execute(
        update(RevocationRecord)
        .where(RevocationRecord.id.in_(identifiers))
        .values(published_at=func.now())
        .execution_options(synchronize_session=False)
    )


async def publish_again(session: AsyncSession) -> None:
    """Make every published revocation that still concerns a living token unpublished."""
    await session.execute(
        update(RevocationRecord)
        .where(
            RevocationRecord.until > int(time.time()), RevocationRecord.published_at.is_not(None)
        )
        .values(published_at=None)
        .execution_options(synchronize_session=False)
    )


async def delete_old_revocations(session: AsyncSession) -> None:
    """Delete published revocations that concern no living token."""
    await session.execute(
        delete(RevocationRecord)
        .where(
            RevocationRecord.until < int(time.time()), RevocationRecord.published_at.is_not(None)
        )
        .execution_options(synchronize_session=False)
    )
