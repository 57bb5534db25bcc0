"""Queries about sessions and their refresh tokens."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Float,
    bindparam,
    cast,
    delete,
    extract,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncSession

from auth.models import Account, Session
from service_platform.database import Reader
from service_platform.database.rows import row_of, rows_of

MOST_LISTED: Final = 1_000
IS_LIVE: Final = Session.ended_at.is_(None) & (Session.idle_until > func.now())


class SessionRow(NamedTuple):
    """A session as its owner sees it."""

    id: UUID
    client_id: str
    scope: str
    created_at: datetime
    last_used_at: datetime
    idle_until: datetime
    user_agent: str | None
    address: str | None


SESSION_COLUMNS: Final = (
    Session.id,
    Session.client_id,
    Session.scope,
    Session.created_at,
    Session.last_used_at,
    Session.idle_until,
    Session.user_agent,
    Session.address,
)


class TokenSessionRow(NamedTuple):
    """What tells whether a refresh token is genuine."""

    secret: bytes
    client_id: str
    scope: str
    account_id: UUID


TOKEN_SESSION_COLUMNS: Final = (
    Session.secret,
    Session.client_id,
    Session.scope,
    Session.account_id,
)


class SessionState(NamedTuple):
    """A live session's account, the number of its refresh token, and the token's age in seconds."""

    id: UUID
    email: str
    full_name: str | None
    roles: list[str]
    counter: int
    age: float


_AGE: Final = cast(extract("epoch", func.clock_timestamp() - Session.rotated_at), Float)
STATE_COLUMNS: Final = (
    Account.id,
    Account.email,
    Account.full_name,
    Account.roles,
    Session.counter,
    _AGE.label("age"),
)

_LIVE_SESSIONS: Final = (
    select(*SESSION_COLUMNS)
    .where(Session.account_id == bindparam("account_id"), IS_LIVE)
    .order_by(Session.last_used_at.desc(), Session.id)
    .limit(MOST_LISTED)
)


async def live_sessions(reader: Reader, account_id: UUID) -> list[SessionRow]:
    """Return the account's sessions that have not ended, the last used first."""
    return rows_of(SessionRow, await reader.all(_LIVE_SESSIONS, {"account_id": account_id}))


async def add_session(session: AsyncSession, **values: Any) -> None:
    """Begin a session."""
    await session.execute(insert(Session).values(**values))


async def session_of_token(session: AsyncSession, session_id: UUID) -> TokenSessionRow | None:
    """Return what tells whether a refresh token of this session is genuine."""
    statement = select(*TOKEN_SESSION_COLUMNS).where(Session.id == session_id)
    return row_of(TokenSessionRow, (await session.execute(statement)).one_or_none())


async def advance(
    session: AsyncSession, session_id: UUID, *, counter: int, idle: timedelta, address: str | None
) -> SessionState | None:
    """Use up the refresh token with this number; `None` where it is not the current one.

    One conditional statement: of two at once the second waits for the first and finds the number
    changed, on whatever replica.
    """
    statement = (
        update(Session)
        .where(
            Session.id == session_id,
            Session.counter == counter,
            IS_LIVE,
            Account.id == Session.account_id,
            Account.is_active,
        )
        .values(
            counter=Session.counter + 1,
            rotated_at=func.clock_timestamp(),
            last_used_at=func.now(),
            idle_until=func.least(func.now() + idle, Session.expires_at),
            address=address,
        )
        .returning(*STATE_COLUMNS)
        .execution_options(synchronize_session=False)
    )
    return row_of(SessionState, (await session.execute(statement)).one_or_none())


async def state_of_session(session: AsyncSession, session_id: UUID) -> SessionState | None:
    """Return the state of a session that has not ended and whose account is active."""
    statement = (
        select(*STATE_COLUMNS)
        .join(Account, Account.id == Session.account_id)
        .where(Session.id == session_id, IS_LIVE, Account.is_active)
    )
    return row_of(SessionState, (await session.execute(statement)).one_or_none())


async def end_session(
    session: AsyncSession, session_id: UUID, *, reason: str, account_id: UUID | None = None
) -> bool:
    """End one session (of this account, where one is given); `False` where none such is live."""
    condition: list[ColumnElement[bool]] = [Session.id == session_id, Session.ended_at.is_(None)]
    if account_id is not None:
        condition.append(Session.account_id == account_id)
    return bool(await _end(session, condition, reason))


async def end_sessions(
    session: AsyncSession,
    account_id: UUID | None,
    *,
    reason: str,
    spared: UUID | None = None,
) -> Sequence[UUID]:
    """End every session of the account (`None`: of everybody) but the spared one.

    Returns:
        The ids of those that were ended.
    """
    condition: list[ColumnElement[bool]] = [Session.ended_at.is_(None)]
    if account_id is not None:
        condition.append(Session.account_id == account_id)
    if spared is not None:
        condition.append(Session.id != spared)
    return await _end(session, condition, reason)


async def delete_old_sessions(session: AsyncSession, kept: timedelta, limit: int) -> int:
    """Delete sessions that ended longer ago than `kept`, at most `limit`; returns how many."""
    over = (
        select(Session.id)
        .where(func.coalesce(Session.ended_at, Session.idle_until) < func.now() - kept)
        .limit(limit)
    )
    deleted = await session.scalars(
        delete(Session)
        .where(Session.id.in_(over))
        .returning(Session.id)
        .execution_options(synchronize_session=False)
    )
    return len(deleted.all())


async def _end(
    session: AsyncSession, condition: list[ColumnElement[bool]], reason: str
) -> Sequence[UUID]:
    ended = await session.scalars(
        update(Session)
        .where(*condition)
        .values(ended_at=func.now(), end_reason=reason)
        .returning(Session.id)
        .execution_options(synchronize_session=False)
    )
    return ended.all()
