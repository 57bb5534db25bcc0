"""Every SQL statement of users."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import bindparam, delete, desc, exists, func, literal, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from service_platform.database import Reader
from service_platform.database.rows import page_of, row_of
from service_platform.database.search import matches_tsquery, prefix_tsquery
from service_platform.pagination import Keyset, KeysetPage, PageParams, fetch_page
from users.models import ClosedAccount, Profile


class ProfileRow(NamedTuple):
    """A profile."""

    id: UUID
    email: str
    full_name: str | None
    bio: str | None
    avatar_url: str | None
    locale: str | None
    created_at: datetime
    updated_at: datetime
    version: int


PROFILE_COLUMNS: Final = (
    Profile.id,
    Profile.email,
    Profile.full_name,
    Profile.bio,
    Profile.avatar_url,
    Profile.locale,
    Profile.created_at,
    Profile.updated_at,
    Profile.version,
)

_PROFILE: Final = select(*PROFILE_COLUMNS).where(Profile.id == bindparam("account_id"))
_ALL: Final = select(*PROFILE_COLUMNS)
_FOUND: Final = _ALL.where(matches_tsquery(Profile.words, "words"))
_NEWEST: Final = Keyset("-id", desc(Profile.id))
"""Account ids are UUIDv7: the newest account has the greatest."""


async def profile_of(reader: Reader, account_id: UUID) -> ProfileRow | None:
    """Return the account's profile."""
    return row_of(ProfileRow, await reader.one_or_none(_PROFILE, {"account_id": account_id}))


async def page_of_profiles(
    reader: Reader, page: PageParams, q: str | None
) -> KeysetPage[ProfileRow]:
    """Return a page of all profiles, or of those that match a search text; newest first."""
    found = await fetch_page(
        reader,
        _FOUND if q else _ALL,
        _NEWEST,
        page,
        filters={"q": q},
        parameters={"words": prefix_tsquery(q)} if q else None,
    )
    return page_of(ProfileRow, found)


async def profile_to_change(session: AsyncSession, account_id: UUID) -> ProfileRow | None:
    """Return the account's profile, locked until the transaction ends."""
    statement = select(*PROFILE_COLUMNS).where(Profile.id == account_id).with_for_update()
    return row_of(ProfileRow, (await session.execute(statement)).one_or_none())


async def add_profile(
    session: AsyncSession, account_id: UUID, email: str, full_name: str | None
) -> None:
    """Insert the profile of an account, unless it exists or the account is closed."""
    await _lock_account(session, account_id)
    closed = exists().where(ClosedAccount.account_id == account_id)
    row = select(literal(account_id), literal(email), literal(full_name)).where(~closed)
    await session.execute(
        insert(Profile).from_select(["id", "email", "full_name"], row).on_conflict_do_nothing()
    )


async def update_profile(
    session: AsyncSession, account_id: UUID, values: Mapping[str, Any]
) -> ProfileRow:
    """Set columns of the account's profile, as its next version."""
    statement = (
        update(Profile)
        .where(Profile.id == account_id)
        .values(**values, version=Profile.version + 1)
        .returning(*PROFILE_COLUMNS)
    )
    return ProfileRow._make((await session.execute(statement)).one())


async def add_profile_or_update_email(
    session: AsyncSession,
    account_id: UUID,
    *,
    email: str,
    full_name: str | None,
    created_at: datetime,
) -> None:
    """Insert the account's profile, or update the address of an existing one.

    The name is taken for a new profile only; after that it is its owner's.
    """
    statement = insert(Profile).values(
        id=account_id, email=email, full_name=full_name, created_at=created_at
    )
    updated: dict[str, Any] = {
        "email": statement.excluded.email,
        "version": Profile.version + 1,
        "updated_at": func.now(),
    }
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=[Profile.id],
            set_=updated,
            where=Profile.email.is_distinct_from(statement.excluded.email),
        )
    )


async def erase_profile(session: AsyncSession, account_id: UUID) -> None:
    """Delete the account's profile and record that the account is closed."""
    await _lock_account(session, account_id)
    await session.execute(
        insert(ClosedAccount).values(account_id=account_id).on_conflict_do_nothing()
    )
    await session.execute(delete(Profile).where(Profile.id == account_id))


async def _lock_account(session: AsyncSession, account_id: UUID) -> None:
    """Keep other transactions from adding or erasing the profile until this one ends.

    Without it a profile that is added while its account is being closed would stay: neither
    transaction sees what the other has not committed.
    """
    key = func.hashtextextended(str(account_id), 0)
    await session.execute(select(func.pg_advisory_xact_lock(key)))
