"""Ending sessions: of one login, of one account, of everybody."""

import time
from collections.abc import Sequence
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from auth import audit, repository
from auth.audit import AuditEvent
from auth.broadcast import Broadcast
from auth.repository import SessionRow
from service_platform.database import Reader
from service_platform.errors import NotFound
from service_platform.identity import Principal


async def live_sessions(reader: Reader, principal: Principal) -> list[SessionRow]:
    """Return the caller's sessions that have not ended."""
    return await repository.live_sessions(reader, principal.subject)


async def end_session(
    session: AsyncSession, broadcast: Broadcast, principal: Principal, session_id: UUID
) -> None:
    """End one session of the caller.

    Raises:
        NotFound: where the caller has no such session.
    """
    if not await repository.end_session(
        session, session_id, reason="ended_by_owner", account_id=principal.subject
    ):
        raise NotFound
    await broadcast.record(session, "session", session_id)
    await audit.record(
        session,
        AuditEvent.SESSION_ENDED,
        account=principal.subject,
        session_id=session_id,
        reason="ended_by_owner",
    )


async def end_own_sessions(
    session: AsyncSession, broadcast: Broadcast, principal: Principal
) -> None:
    """End every session of the caller, this one too."""
    await end_sessions_of_account(session, broadcast, principal.subject, reason="ended_by_owner")


async def end_sessions_of_account(
    session: AsyncSession, broadcast: Broadcast, account_id: UUID, *, reason: str
) -> int:
    """Lock the account and end its sessions; returns how many were ended."""
    if await repository.account_to_change(session, account_id) is None:
        return 0
    return await end_all_sessions(session, broadcast, account_id, reason=reason)


async def end_all_sessions(
    session: AsyncSession,
    broadcast: Broadcast,
    account_id: UUID,
    *,
    reason: str,
    spared: UUID | None = None,
) -> int:
    """End an account's sessions and tell every service; the account's row must be locked.

    Returns:
        How many were ended.
    """
    ended = await repository.end_sessions(session, account_id, reason=reason, spared=spared)
    at = _ended_until(ended)
    await repository.change_account(session, account_id, sessions_ended_at=at)
    await broadcast.record(session, "account", account_id, at=at, spared=spared)
    await audit.record(
        session,
        AuditEvent.SESSIONS_ENDED,
        account=account_id,
        sessions=len(ended),
        reason=reason,
    )
    return len(ended)


async def end_sessions_of_everybody(session: AsyncSession, broadcast: Broadcast) -> int:
    """End every session of every account; returns how many there were."""
    ended = await repository.end_sessions(session, None, reason="revoked_by_operator")
    at = _ended_until(ended)
    await repository.end_sessions_of_everybody(session, at)
    await broadcast.record(session, "all", None, at=at)
    await audit.record(session, AuditEvent.ALL_SESSIONS_ENDED, sessions=len(ended))
    return len(ended)


def _ended_until(ended: Sequence[UUID]) -> int:
    """Return the millisecond since the epoch that no ended session began after.

    Session ids tell when they began, by the clock of the replica that made them: it may be ahead of
    this one's.
    """
    return max(int(time.time() * 1000), *(session_id.int >> 80 for session_id in ended), 0)


__all__ = [
    "end_all_sessions",
    "end_own_sessions",
    "end_session",
    "end_sessions_of_account",
    "end_sessions_of_everybody",
    "live_sessions",
]
