"""Events about accounts for other services, and the state of all accounts for a rebuild."""

from collections.abc import Sequence
from typing import Final, Literal
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from auth import audit, repository
from auth.audit import AuditEvent
from auth.repository import AccountRow
from service_platform.events import Event, publish
from service_platform.events.accounts import (
    STREAM,
    AccountClosed,
    AccountRegistered,
    AccountState,
    AccountUpdated,
)
from service_platform.events.snapshot import Snapshot

Change = Literal["registered", "updated", "closed"]

_STATES: Final[dict[str, type[AccountState]]] = {
    "registered": AccountRegistered,
    "updated": AccountUpdated,
}
_AUDIT_EVENTS: Final[dict[Change, AuditEvent]] = {
    "registered": AuditEvent.ACCOUNT_REGISTERED,
    "updated": AuditEvent.ACCOUNT_UPDATED,
    "closed": AuditEvent.ACCOUNT_CLOSED,
}


async def publish_change(session: AsyncSession, change: Change, account: AccountRow) -> None:
    """Publish what happened to an account, in the transaction in which it happens.

    Args:
        session: of the change; the account's row must be locked by it, or new.
        change: what happened.
        account: the account as it is now (or was, where it is closed).
    """
    if change == "closed":
        await repository.add_closed_account(session, account.id)
        await publish(session, AccountClosed(account_id=account.id))
    else:
        await publish(session, _state(_STATES[change], account))
    await audit.record(session, _AUDIT_EVENTS[change], account=account.id)


def _state(kind: type[AccountState], account: AccountRow) -> AccountState:
    return kind(
        account_id=account.id,
        email=account.email,
        full_name=account.full_name,
        roles=account.roles,
        is_active=account.is_active,
        created_at=account.created_at,
    )


async def _page(
    session: AsyncSession, after: UUID | None, limit: int
) -> Sequence[tuple[UUID, Event]]:
    """Return the state of accounts, closed ones too: a listener that missed it still has them."""
    accounts, closed = await repository.states_after(session, after, limit)
    events: list[tuple[UUID, Event]] = [
        *((account.id, _state(AccountUpdated, account)) for account in accounts),
        *((account_id, AccountClosed(account_id=account_id)) for account_id in closed),
    ]
    return sorted(events, key=lambda each: each[0])[:limit]


SNAPSHOT: Final = Snapshot(stream=STREAM, count=repository.count_accounts, page=_page)
"""For `python -m service_platform.events rebuild users`."""

__all__ = ["SNAPSHOT", "Change", "publish_change"]
