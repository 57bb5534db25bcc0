"""Account event handlers: profiles are added, keep their address up to date, and are erased."""

from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from service_platform.events import Handlers, Message
from service_platform.events.accounts import (
    AccountClosed,
    AccountRegistered,
    AccountState,
    AccountUpdated,
)
from users import repository

GROUP: Final = "users"
handlers: Final = Handlers()


@handlers.on(AccountRegistered, AccountUpdated)
async def add_or_update_profile(session: AsyncSession, message: Message[AccountState]) -> None:
    """Add the profile of a new account, or update the address of an existing one."""
    account = message.event
    await repository.add_profile_or_update_email(
        session,
        account.account_id,
        email=account.email,
        full_name=account.full_name,
        created_at=account.created_at,
    )


@handlers.on(AccountClosed)
async def erase_profile(session: AsyncSession, message: Message[AccountClosed]) -> None:
    """Erase the profile of a closed account, for good."""
    await repository.erase_profile(session, message.event.account_id)


__all__ = ["GROUP", "handlers"]
