"""What users asks of its database; each function is named for the question it answers."""

from collections.abc import Mapping
from typing import Any, Final, TypeAlias
from uuid import UUID

from sqlalchemy import Row, bindparam, desc, exists, func, literal, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from service_platform.database import Reader
from service_platform.database.search import matches_tsquery, prefix_tsquery
from service_platform.pagination import Keyset, KeysetPage, PageParams, fetch_page
from users.models import ClosedAccount, Profile

Record: TypeAlias = Row[*tuple[Any, ...]]
"""A row of columns."""

COLUMNS: Final = (
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

_PROFILE: Final = select(*COLUMNS).where(Profile.id == bindparam("account_id"))
_ALL: Final = select(*COLUMNS)
_FOUND: Final = _ALL.where(matches_tsquery(Profile.words, "words"))
_NEWEST: Final = Keyset("-id", desc(Profile.id))
"""Account ids are UUIDv7: the newest account has the greatest."""


async def profile_of(reader: Reader, account_id: UUID) -> Record | None:
    """The account's profile."""
    return await reader.one_or_none(_PROFILE, {"account_id": account_id})


async def page_of_profiles(reader: Reader, page: PageParams, q: str | None) -> KeysetPage[Record]:
    """A page of all profiles, or of those with the words of `q` in name or address."""
    filters = {"q": q}
    if not q:
        return await fetch_page(reader, _ALL, _NEWEST, page, filters=filters)
    words = {"words": prefix_tsquery(q)}
    return await fetch_page(reader, _FOUND, _NEWEST, page, filters=filters, parameters=words)


async def lock_account(session: AsyncSession, account_id: UUID) -> None:
    """Let nobody else make or erase the account's profile until the transaction ends.

    Without it a profile made while its account is being closed would stay: neither transaction
    sees what the other has not committed.
    """
    key = func.hashtextextended(str(account_id), 0)
    await session.execute(select(func.pg_advisory_xact_lock(key)))


async def add_profile(
    session: AsyncSession, account_id: UUID, email: str, full_name: str | None
) -> None:
    """Write the profile of an account, unless it is there or the account is closed."""
    await lock_account(session, account_id)
    closed = exists().where(ClosedAccount.account_id == account_id)
    row = select(literal(account_id), literal(email), literal(full_name)).where(~closed)
    await session.execute(
        insert(Profile).from_select(["id", "email", "full_name"], row).on_conflict_do_nothing()
    )


async def version_to_change(session: AsyncSession, account_id: UUID) -> int | None:
    """The version of the account's profile; nobody else changes it until the transaction ends."""
    version: int | None = await session.scalar(
        select(Profile.version).where(Profile.id == account_id).with_for_update()
    )
    return version


async def change_profile(
    session: AsyncSession, account_id: UUID, values: Mapping[str, Any]
) -> Record:
    """Write new values, as the next version; without any, it stays the version it is."""
    if not values:
        same = select(*COLUMNS).where(Profile.id == account_id)
        return (await session.execute(same)).one()
    changed = await session.execute(
        update(Profile)
        .where(Profile.id == account_id)
        .values(**values, version=Profile.version + 1)
        .returning(*COLUMNS)
    )
    return changed.one()
