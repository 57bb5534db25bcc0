"""Queries about accounts and closed accounts."""

from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import bindparam, delete, desc, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from auth.models import Account, ClosedAccount, Session
from auth.repository.sessions import IS_LIVE
from service_platform.database import Reader
from service_platform.database.rows import page_of, row_of, rows_of
from service_platform.pagination import Keyset, KeysetPage, PageParams, fetch_page


class AccountRow(NamedTuple):
    """An account without its password."""

    id: UUID
    email: str
    full_name: str | None
    roles: list[str]
    is_active: bool
    created_at: datetime


ACCOUNT_COLUMNS: Final = (
    Account.id,
    Account.email,
    Account.full_name,
    Account.roles,
    Account.is_active,
    Account.created_at,
)


class CredentialsRow(NamedTuple):
    """What a login or a change of the password is checked against."""

    id: UUID
    email: str
    email_key: str
    password_hash: str
    is_active: bool


CREDENTIALS_COLUMNS: Final = (
    Account.id,
    Account.email,
    Account.email_key,
    Account.password_hash,
    Account.is_active,
)


class LoginRow(NamedTuple):
    """An account that a session is about to begin for."""

    id: UUID
    email: str
    full_name: str | None
    roles: list[str]
    sessions_ended_at: int


LOGIN_COLUMNS: Final = (
    Account.id,
    Account.email,
    Account.full_name,
    Account.roles,
    Account.sessions_ended_at,
)

_NEWEST: Final = Keyset("-id", desc(Account.id))
"""Account ids are UUIDv7: the newest account has the greatest."""

_CREDENTIALS_BY_ADDRESS: Final = select(*CREDENTIALS_COLUMNS).where(
    Account.email_key == bindparam("email_key")
)
_CREDENTIALS_BY_ID: Final = select(*CREDENTIALS_COLUMNS).where(
    Account.id == bindparam("account_id")
)
_LIVE_ACCOUNT: Final = (
    select(*ACCOUNT_COLUMNS)
    .join(Session, Session.account_id == Account.id)
    .where(
        Account.id == bindparam("account_id"),
        Account.is_active,
        Session.id == bindparam("session_id"),
        IS_LIVE,
    )
)


async def credentials_for(reader: Reader, email_key: str) -> CredentialsRow | None:
    """Return the credentials of the account with this address."""
    found = await reader.one_or_none(_CREDENTIALS_BY_ADDRESS, {"email_key": email_key})
    return row_of(CredentialsRow, found)


async def account_credentials(reader: Reader, account_id: UUID) -> CredentialsRow | None:
    """Return the credentials of an account."""
    found = await reader.one_or_none(_CREDENTIALS_BY_ID, {"account_id": account_id})
    return row_of(CredentialsRow, found)


async def live_account(reader: Reader, account_id: UUID, session_id: UUID) -> AccountRow | None:
    """Return the account, where it is active and this session of it has not ended."""
    found = await reader.one_or_none(
        _LIVE_ACCOUNT, {"account_id": account_id, "session_id": session_id}
    )
    return row_of(AccountRow, found)


async def page_of_accounts(
    reader: Reader, page: PageParams, query: str | None
) -> KeysetPage[AccountRow]:
    """Return accounts whose address begins with, or whose name contains, the text; newest first."""
    statement = select(*ACCOUNT_COLUMNS)
    if query:
        statement = statement.where(
            or_(
                Account.email_key.startswith(query.casefold(), autoescape=True),
                Account.full_name.icontains(query, autoescape=True),
            )
        )
    found = await fetch_page(reader, statement, _NEWEST, page, filters={"q": query})
    return page_of(AccountRow, found)


async def account_id_of(session: AsyncSession, email_key: str) -> UUID | None:
    """Return the id of the account with this address."""
    return await session.scalar(select(Account.id).where(Account.email_key == email_key))


async def add_account(
    session: AsyncSession, *, email: str, email_key: str, full_name: str | None, password_hash: str
) -> AccountRow | None:
    """Add an account; `None` where the address is taken."""
    statement = (
        insert(Account)
        .values(email=email, email_key=email_key, full_name=full_name, password_hash=password_hash)
        .on_conflict_do_nothing(index_elements=[Account.email_key])
        .returning(*ACCOUNT_COLUMNS)
    )
    return row_of(AccountRow, (await session.execute(statement)).one_or_none())


async def account_to_log_in(
    session: AsyncSession, account_id: UUID, password_hash: str
) -> LoginRow | None:
    """Return the account, kept from changing until the transaction ends.

    `None` where it was deactivated or erased, or its password changed, while the password was
    being verified.
    """
    statement = (
        select(*LOGIN_COLUMNS)
        .where(Account.id == account_id, Account.is_active, Account.password_hash == password_hash)
        .with_for_update(read=True)
    )
    return row_of(LoginRow, (await session.execute(statement)).one_or_none())


async def account_to_change(session: AsyncSession, account_id: UUID) -> AccountRow | None:
    """Return the account, locked until the transaction ends."""
    statement = select(*ACCOUNT_COLUMNS).where(Account.id == account_id).with_for_update()
    return row_of(AccountRow, (await session.execute(statement)).one_or_none())


async def password_to_change(session: AsyncSession, account_id: UUID) -> str | None:
    """Return the password hash of the account, locked until the transaction ends."""
    return await session.scalar(
        select(Account.password_hash).where(Account.id == account_id).with_for_update()
    )


async def change_account(session: AsyncSession, account_id: UUID, **values: Any) -> AccountRow:
    """Set columns of an account; returns it as it is then."""
    statement = (
        update(Account)
        .where(Account.id == account_id)
        .values(**values, updated_at=func.now())
        .returning(*ACCOUNT_COLUMNS)
        .execution_options(synchronize_session=False)
    )
    return AccountRow(*(await session.execute(statement)).one())


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


async def end_sessions_of_everybody(session: AsyncSession, at: int) -> None:
    """Write to every account that its sessions begun until `at` (milliseconds) are over."""
    await session.execute(
        update(Account)
        .values(sessions_ended_at=func.greatest(Account.sessions_ended_at, at))
        .execution_options(synchronize_session=False)
    )


async def erase_account(session: AsyncSession, account_id: UUID) -> None:
    """Delete the account with its sessions."""
    await session.execute(
        delete(Account).where(Account.id == account_id).execution_options(synchronize_session=False)
    )


async def add_closed_account(session: AsyncSession, account_id: UUID) -> None:
    """Remember the id of an account that is about to be erased."""
    await session.execute(insert(ClosedAccount).values(account_id=account_id))


async def count_accounts(session: AsyncSession) -> int:
    """Count the accounts there are and the closed ones."""
    statement = select(
        select(func.count()).select_from(Account).scalar_subquery()
        + select(func.count()).select_from(ClosedAccount).scalar_subquery()
    )
    return await session.scalar(statement) or 0


async def states_after(
    session: AsyncSession, after: UUID | None, limit: int
) -> tuple[list[AccountRow], list[UUID]]:
    """Return accounts and ids of closed accounts behind an id, each in the order of their ids.

    The accounts cannot change until the transaction ends.
    """
    open_ones = select(*ACCOUNT_COLUMNS).order_by(Account.id).limit(limit)
    closed_ones = select(ClosedAccount.account_id).order_by(ClosedAccount.account_id).limit(limit)
    if after is not None:
        open_ones = open_ones.where(Account.id > after)
        closed_ones = closed_ones.where(ClosedAccount.account_id > after)
    accounts = await session.execute(open_ones.with_for_update(read=True))
    closed = await session.scalars(closed_ones)
    return rows_of(AccountRow, accounts.all()), list(closed.all())
