"""What items hears of accounts: what belongs to a closed one is to be erased."""

from typing import Final

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from items.models import ClosedAccount
from service_platform.events import Handlers, Message
from service_platform.events.accounts import AccountClosed

GROUP: Final = "items"
handlers: Final = Handlers()


@handlers.on(AccountClosed)
async def close(session: AsyncSession, message: Message[AccountClosed]) -> None:
    """Refuse new items of the account from now on; `erasure.py` deletes those there are."""
    await session.execute(
        insert(ClosedAccount).values(account_id=message.event.account_id).on_conflict_do_nothing()
    )


__all__ = ["GROUP", "handlers"]
