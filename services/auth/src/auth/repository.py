"""What auth asks of its database; each function is named for the question it answers."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final, TypeAlias
from uuid import UUID

from sqlalchemy import ColumnElement, Row, bindparam, delete, desc, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from auth.models import Account, Client, Session
from service_platform.database import Reader
from service_platform.pagination import Keyset, PageParams, Slice, fetch_page

Record: TypeAlias = Row[*tuple[Any, ...]]
"""A row of columns."""

_IS_LIVE: Final = Session.ended_at.is_(None) & (Session.idle_until > func.now())

_CREDENTIALS: Final = select(
    Account.id, Account.email, Account.password_hash, Account.is_active
).where(Account.email_key == bindparam("email_key"))

_OWN_CREDENTIALS: Final = select(Account.email, Account.email_key, Account.password_hash).where(
    Account.id == bindparam("account_id")
)

_CLIENT: Final = select(
    Client.id, Client.client_id, Client.secret_hash, Client.grant_types, Client.scopes
).where(Client.client_id == bindparam("client_id"))

ACCOUNT_COLUMNS: Final = (
    Account.id,
    Account.email,
    Account.full_name,
    Account.roles,
    Account.is_active,
    Account.created_at,
)
_NEWEST_ACCOUNTS: Final = Keyset("-id", desc(Account.id))
_LIVE_ACCOUNT: Final = (
    select(*ACCOUNT_COLUMNS)
    .join(Session, Session.account_id == Account.id)
    .where(
        Account.id == bindparam("account_id"),
        Account.is_active,
        Session.id == bindparam("session_id"),
        _IS_LIVE,
    )
)
_LIVE_SESSIONS: Final = (
    select(
        Session.id,
        Session.client_id,
        Session.scope,
        Session.created_at,
        Session.last_used_at,
        Session.idle_until,
        Session.user_agent,
        Session.address,
    )
    .where(Session.account_id == bindparam("account_id"), _IS_LIVE)
    .order_by(Session.last_used_at.desc(), Session.id)
    .limit(1_000)
)


async def credentials_for(reader: Reader, email_key: str) -> Record | None:
    """Id, address, password hash and state of the account with this address."""
    return await reader.one_or_none(_CREDENTIALS, {"email_key": email_key})


async def account_credentials(reader: Reader, account_id: UUID) -> Record | None:
    """Address and password hash of an account."""
    return await reader.one_or_none(_OWN_CREDENTIALS, {"account_id": account_id})


async def client_named(reader: Reader, client_id: str) -> Record | None:
    """The registered client."""
    if "\x00" in client_id:
        return None
    return await reader.one_or_none(_CLIENT, {"client_id": client_id})


async def live_account(reader: Reader, account_id: UUID, session_id: UUID) -> Record | None:
    """The account, where it is active and this session of it goes on."""
    return await reader.one_or_none(
        _LIVE_ACCOUNT, {"account_id": account_id, "session_id": session_id}
    )


async def live_sessions(reader: Reader, account_id: UUID) -> list[Record]:
    """Sessions of the account that go on, the last used first."""
    return await reader.all(_LIVE_SESSIONS, {"account_id": account_id})


async def add_account(
    session: AsyncSession, *, email: str, email_key: str, full_name: str | None, password_hash: str
) -> Record | None:
    """Add an account; `None` where the address is taken."""
    statement = (
        insert(Account)
        .values(email=email, email_key=email_key, full_name=full_name, password_hash=password_hash)
        .on_conflict_do_nothing(index_elements=[Account.email_key])
        .returning(*ACCOUNT_COLUMNS)
    )
    return (await session.execute(statement)).one_or_none()


async def account_to_log_in(
    session: AsyncSession, account_id: UUID, password_hash: str
) -> Record | None:
    """The account, kept from changing until the transaction ends.

    `None` where it was deactivated or erased, or its password changed, while the password was
    being verified.
    """
    statement = (
        select(*ACCOUNT_COLUMNS, Account.sessions_ended_at)
        .where(Account.id == account_id, Account.is_active, Account.password_hash == password_hash)
        .with_for_update(read=True)
    )
    return (await session.execute(statement)).one_or_none()


async def account_to_change(session: AsyncSession, account_id: UUID) -> Record | None:
    """The account, locked until the transaction ends."""
    statement = (
        select(*ACCOUNT_COLUMNS, Account.email_key, Account.password_hash)
        .where(Account.id == account_id)
        .with_for_update()
    )
    return (await session.execute(statement)).one_or_none()


async def change_account(session: AsyncSession, account_id: UUID, **values: Any) -> Record:
    """Set columns of an account; returns it."""
    statement = (
        update(Account)
        .where(Account.id == account_id)
        .values(**values, updated_at=func.now())
        .returning(*ACCOUNT_COLUMNS)
        .execution_options(synchronize_session=False)
    )
    return (await session.execute(statement)).one()


async def change_password(session: AsyncSession, account_id: UUID, password_hash: str) -> None:
    """Store the hash of a new password."""
    await change_account(
        session, account_id, password_hash=password_hash, password_changed_at=func.now()
    )


async def replace_outdated_hash(
    session: AsyncSession, account_id: UUID, old: str, new: str
) -> bool:
    """Store the same password's hash with today's parameters, unless the password was changed."""
    statement = (
        update(Account)
        .where(Account.id == account_id, Account.password_hash == old)
        .values(password_hash=new)
        .returning(Account.id)
        .execution_options(synchronize_session=False)
    )
    return (await session.execute(statement)).first() is not None


async def erase_account(session: AsyncSession, account_id: UUID) -> None:
    """Delete the account with its sessions."""
    await session.execute(
        delete(Account).where(Account.id == account_id).execution_options(synchronize_session=False)
    )


async def add_session(session: AsyncSession, **values: Any) -> None:
    """Begin a session."""
    await session.execute(insert(Session).values(**values))


async def session_of_token(session: AsyncSession, session_id: UUID) -> Record | None:
    """What is needed to tell whether a refresh token is genuine."""
    statement = select(Session.secret, Session.client_id, Session.scope, Session.account_id).where(
        Session.id == session_id
    )
    return (await session.execute(statement)).one_or_none()


async def advance(
    session: AsyncSession, session_id: UUID, *, counter: int, idle: timedelta, address: str | None
) -> Record | None:
    """Use up the refresh token with this number; `None` where it is not the current one.

    One conditional statement: of two at once the second waits for the first and finds the number
    changed, on whatever replica.
    """
    statement = (
        update(Session)
        .where(
            Session.id == session_id,
            Session.counter == counter,
            _IS_LIVE,
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
        .returning(Account.id, Account.email, Account.full_name, Account.roles, Session.counter)
        .execution_options(synchronize_session=False)
    )
    return (await session.execute(statement)).one_or_none()


async def state_of_session(session: AsyncSession, session_id: UUID) -> Record | None:
    """A live session's number, seconds since it changed, and its account."""
    statement = (
        select(
            Account.id,
            Account.email,
            Account.full_name,
            Account.roles,
            Session.counter,
            func.extract("epoch", func.clock_timestamp() - Session.rotated_at).label("age"),
        )
        .join(Account, Account.id == Session.account_id)
        .where(Session.id == session_id, _IS_LIVE, Account.is_active)
    )
    return (await session.execute(statement)).one_or_none()


async def end_session(
    session: AsyncSession, session_id: UUID, *, reason: str, account_id: UUID | None = None
) -> bool:
    """End one session (of this account, where one is given); `False` where none such goes on."""
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
    """End every session of the account (`None`: of everybody), but the spared one."""
    condition: list[ColumnElement[bool]] = [Session.ended_at.is_(None)]
    if account_id is not None:
        condition.append(Session.account_id == account_id)
    if spared is not None:
        condition.append(Session.id != spared)
    return await _end(session, condition, reason)


async def _end(
    session: AsyncSession, condition: list[ColumnElement[bool]], reason: str
) -> Sequence[UUID]:
    """End the sessions that meet the conditions; returns which."""
    ended = await session.scalars(
        update(Session)
        .where(*condition)
        .values(ended_at=func.now(), end_reason=reason)
        .returning(Session.id)
        .execution_options(synchronize_session=False)
    )
    return ended.all()


async def accounts_page(reader: Reader, page: PageParams, query: str | None) -> Slice[Record]:
    """Accounts whose address begins with, or whose name contains, the text; the newest first."""
    statement = select(*ACCOUNT_COLUMNS)
    if query:
        statement = statement.where(
            or_(
                Account.email_key.startswith(query.casefold(), autoescape=True),
                Account.full_name.icontains(query, autoescape=True),
            )
        )
    return await fetch_page(reader, statement, _NEWEST_ACCOUNTS, page, filters={"q": query})
