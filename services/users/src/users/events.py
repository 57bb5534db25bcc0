"""What users hears of accounts: profiles come, keep their address up to date, and go."""

from typing import Any, Final

from sqlalchemy import delete, func
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from service_platform.events import Handlers, Message
from service_platform.events.accounts import (
    AccountClosed,
    AccountRegistered,
    AccountState,
    AccountUpdated,
)
from users.models import ClosedAccount, Profile
from users.repository import lock_account

GROUP: Final = "users"
handlers: Final = Handlers()


@handlers.on(AccountRegistered, AccountUpdated)
async def keep_profile(session: AsyncSession, message: Message[AccountState]) -> None:
    """Make the profile, or bring its address up to date; the name is its owner's from then on."""
    account = message.event
    profile = insert(Profile).values(
        id=account.account_id,
        email=account.email,
        full_name=account.full_name,
        created_at=account.created_at,
    )
    changed: dict[str, Any] = {
        "email": profile.excluded.email,
        "version": Profile.version + 1,
        "updated_at": func.now(),
    }
    await session.execute(
        profile.on_conflict_do_update(
            index_elements=[Profile.id],
            set_=changed,
            where=Profile.email.is_distinct_from(profile.excluded.email),
        )
    )


@handlers.on(AccountClosed)
async def erase_profile(session: AsyncSession, message: Message[AccountClosed]) -> None:
    """Erase the profile, and remember that it must not come back."""
    account_id = message.event.account_id
    await lock_account(session, account_id)
    await session.execute(
        insert(ClosedAccount).values(account_id=account_id).on_conflict_do_nothing()
    )
    await session.execute(delete(Profile).where(Profile.id == account_id))


__all__ = ["GROUP", "handlers"]
