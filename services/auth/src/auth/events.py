"""What auth tells other services about accounts, and the state of all of them for a rebuild."""

from collections.abc import Sequence
from typing import Final, Literal
from uuid import UUID

from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from auth.models import Account, ClosedAccount
from auth.repository import ACCOUNT_COLUMNS, Record
from service_platform.events import Event, publish
from service_platform.events.accounts import (
    STREAM,
    AccountClosed,
    AccountRegistered,
    AccountState,
    AccountUpdated,
)
from service_platform.events.rebuild import Snapshot

Change = Literal["registered", "updated", "closed"]

_STATES: Final[dict[str, type[AccountState]]] = {
    "registered": AccountRegistered,
    "updated": AccountUpdated,
}


async def tell(session: AsyncSession, change: Change, account: Record) -> None:
    """Publish what happened to an account, in the transaction in which it happens.

    Args:
        session: of the change; the account's row must be locked by it, or new.
        change: what happened.
        account: the account as it is now (or was, where it is closed).
    """
    if change == "closed":
        await session.execute(insert(ClosedAccount).values(account_id=account.id))
        await publish(session, AccountClosed(account_id=account.id))
    else:
        await publish(session, _state(_STATES[change], account))


def _state(kind: type[AccountState], account: Record) -> AccountState:
    return kind(
        account_id=account.id,
        email=account.email,
        full_name=account.full_name,
        roles=account.roles,
        is_active=account.is_active,
        created_at=account.created_at,
    )


async def _count(session: AsyncSession) -> int:
    """Accounts there are and were."""
    statement = select(
        select(func.count()).select_from(Account).scalar_subquery()
        + select(func.count()).select_from(ClosedAccount).scalar_subquery()
    )
    return await session.scalar(statement) or 0


async def _page(
    session: AsyncSession, after: UUID | None, limit: int
) -> Sequence[tuple[UUID, Event]]:
    """The state of accounts, closed ones too: a listener that missed the closing still has them."""
    open_ones = select(*ACCOUNT_COLUMNS).order_by(Account.id).limit(limit)
    closed_ones = select(ClosedAccount.account_id).order_by(ClosedAccount.account_id).limit(limit)
    if after is not None:
        open_ones = open_ones.where(Account.id > after)
        closed_ones = closed_ones.where(ClosedAccount.account_id > after)
    accounts = await session.execute(open_ones.with_for_update(read=True))
    closed = await session.scalars(closed_ones)
    events: list[tuple[UUID, Event]] = [
        *((account.id, _state(AccountUpdated, account)) for account in accounts),
        *((account_id, AccountClosed(account_id=account_id)) for account_id in closed),
    ]
    return sorted(events, key=lambda each: each[0])[:limit]


SNAPSHOT: Final = Snapshot(stream=STREAM, count=_count, page=_page)
"""For `python -m service_platform.events rebuild users`."""

__all__ = ["SNAPSHOT", "Change", "tell"]
