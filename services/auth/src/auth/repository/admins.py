"""Queries about who is an admin.

Whoever takes the role admin, or an admin's account, away holds one advisory lock from before the
question until the end of the transaction: of two admins who demote each other at the same moment,
the second sees what the first did.
"""

from typing import Final
from uuid import UUID

from sqlalchemy import exists, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from auth.models import Account

ADMIN: Final = "admin"
_ADMINS_LOCK: Final = 0x61646D696E
"""Number of the advisory lock; to be taken before the lock of any account's row."""

_IS_ADMIN: Final = Account.roles.contains([ADMIN])


async def lock_admins(session: AsyncSession) -> None:
    """Let nobody else take an admin's access away until the transaction ends."""
    await session.execute(select(func.pg_advisory_xact_lock(_ADMINS_LOCK)))


async def is_admin(session: AsyncSession, account_id: UUID) -> bool:
    """Tell whether the account has the role admin."""
    statement = select(exists().where(Account.id == account_id, _IS_ADMIN))
    return bool(await session.scalar(statement))


async def is_active_admin(session: AsyncSession, account_id: UUID) -> bool:
    """Tell whether the account has the role admin and can use it."""
    statement = select(exists().where(Account.id == account_id, _IS_ADMIN, Account.is_active))
    return bool(await session.scalar(statement))


async def other_admin_exists(session: AsyncSession, account_id: UUID) -> bool:
    """Tell whether there is an active admin besides this account."""
    statement = select(exists().where(Account.id != account_id, _IS_ADMIN, Account.is_active))
    return bool(await session.scalar(statement))
