"""Account event handlers: what belongs to a closed account is erased."""

from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from items import repository
from service_platform.events import Handlers, Message
from service_platform.events.accounts import AccountClosed

GROUP: Final = "items"
handlers: Final = Handlers()


@handlers.on(AccountClosed)
async def close_account(session: AsyncSession, message: Message[AccountClosed]) -> None:
    """Refuse new items of the account from now on; `erasure.py` deletes the existing ones."""
    await repository.add_closed_account(session, message.event.account_id)


__all__ = ["GROUP", "handlers"]
