"""The subscriptions of an account and their deliveries, as their owner sees and changes them."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import bindparam, delete, desc, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from service_platform.database import Reader, new_metadata
from service_platform.database.rows import page_of, row_of
from service_platform.pagination import Keyset, KeysetPage, PageParams, fetch_page
from service_platform.webhooks.models import webhook_tables

LOCK_NAMESPACE: Final = 0x686F6F6B
"""First half of the advisory locks under which an account's subscriptions are counted."""
PREVIOUS_SECRET_VALID: Final = timedelta(hours=24)

_subscriptions, _deliveries = webhook_tables(new_metadata())


class SubscriptionRow(NamedTuple):
    """A subscription, without its secrets."""

    id: UUID
    url: str
    types: list[str]
    description: str | None
    failing_since: datetime | None
    disabled_at: datetime | None
    disabled_reason: str | None
    created_at: datetime
    updated_at: datetime
    version: int

    @property
    def enabled(self) -> bool:
        """Whether anything is sent."""
        return self.disabled_at is None


class DeliveryRow(NamedTuple):
    """A delivery, without its payload."""

    id: UUID
    type: str
    status: str
    attempts: int
    response_status: int | None
    error: str | None
    created_at: datetime
    attempted_at: datetime | None
    next_attempt_at: datetime | None
    finished_at: datetime | None


SUBSCRIPTION_COLUMNS: Final = tuple(_subscriptions.c[name] for name in SubscriptionRow._fields)
DELIVERY_COLUMNS: Final = tuple(_deliveries.c[name] for name in DeliveryRow._fields)

_LOCK_ACCOUNT: Final = text("SELECT pg_advisory_xact_lock(:space, hashtext(:account))")
_OF_ACCOUNT: Final = select(*SUBSCRIPTION_COLUMNS).where(
    _subscriptions.c.account == bindparam("account")
)
_SUBSCRIPTION: Final = _OF_ACCOUNT.where(_subscriptions.c.id == bindparam("id"))
_OF_SUBSCRIPTION: Final = (
    select(*DELIVERY_COLUMNS)
    .join(_subscriptions, _subscriptions.c.id == _deliveries.c.subscription_id)
    .where(
        _subscriptions.c.id == bindparam("subscription_id"),
        _subscriptions.c.account == bindparam("account"),
    )
)
_OF_STATUS: Final = _OF_SUBSCRIPTION.where(_deliveries.c.status == bindparam("status"))
_DELIVERY: Final = _OF_SUBSCRIPTION.add_columns(_deliveries.c.payload).where(
    _deliveries.c.id == bindparam("id")
)
_OLDEST_SUBSCRIPTION_FIRST: Final = Keyset("webhooks", _subscriptions.c.id)
_NEWEST_DELIVERY_FIRST: Final = Keyset("deliveries", desc(_deliveries.c.id))


async def page_of_subscriptions(
    reader: Reader, account: UUID, page: PageParams
) -> KeysetPage[SubscriptionRow]:
    """Return a page of an account's subscriptions, the oldest first."""
    parameters = {"account": str(account)}
    found = await fetch_page(
        reader,
        _OF_ACCOUNT,
        _OLDEST_SUBSCRIPTION_FIRST,
        page,
        filters=parameters,
        parameters=parameters,
    )
    return page_of(SubscriptionRow, found)


async def subscription_of(
    reader: Reader, account: UUID, subscription_id: UUID
) -> SubscriptionRow | None:
    """Return a subscription of an account."""
    parameters = {"account": str(account), "id": subscription_id}
    return row_of(SubscriptionRow, await reader.one_or_none(_SUBSCRIPTION, parameters))


async def subscription_to_change(
    session: AsyncSession, account: UUID, subscription_id: UUID
) -> SubscriptionRow | None:
    """Return a subscription of an account, locked until the transaction ends."""
    found = await session.execute(
        _SUBSCRIPTION.with_for_update(key_share=True),
        {"account": str(account), "id": subscription_id},
    )
    return row_of(SubscriptionRow, found.one_or_none())


async def count_subscriptions(session: AsyncSession, account: UUID) -> int:
    """Count the subscriptions of an account; nobody else adds one until the transaction ends."""
    await session.execute(_LOCK_ACCOUNT, {"space": LOCK_NAMESPACE, "account": str(account)})
    number = select(func.count()).where(_subscriptions.c.account == str(account))
    return await session.scalar(number) or 0


async def add_subscription(
    session: AsyncSession,
    account: UUID,
    subscription_id: UUID,
    values: Mapping[str, Any],
) -> SubscriptionRow:
    """Insert a subscription."""
    statement = (
        insert(_subscriptions)
        .values(id=subscription_id, account=str(account), **values)
        .returning(*SUBSCRIPTION_COLUMNS)
    )
    return SubscriptionRow._make((await session.execute(statement)).one())


async def update_subscription(
    session: AsyncSession, subscription_id: UUID, values: Mapping[str, Any]
) -> SubscriptionRow:
    """Set columns of a subscription, as its next version."""
    statement = (
        update(_subscriptions)
        .where(_subscriptions.c.id == subscription_id)
        .values(**values, updated_at=func.now(), version=_subscriptions.c.version + 1)
        .returning(*SUBSCRIPTION_COLUMNS)
    )
    return SubscriptionRow._make((await session.execute(statement)).one())


async def rotate_secret(session: AsyncSession, subscription_id: UUID, secret: bytes) -> datetime:
    """Replace the secret of a subscription; return until when the one so far is used, too."""
    statement = (
        update(_subscriptions)
        .where(_subscriptions.c.id == subscription_id)
        .values(
            secret=secret,
            previous_secret=_subscriptions.c.secret,
            previous_secret_until=func.clock_timestamp() + PREVIOUS_SECRET_VALID,
        )
        .returning(_subscriptions.c.previous_secret_until)
    )
    until: datetime = (await session.execute(statement)).scalar_one()
    return until


async def delete_subscription(session: AsyncSession, subscription_id: UUID) -> None:
    """Delete a subscription with its deliveries."""
    await session.execute(delete(_subscriptions).where(_subscriptions.c.id == subscription_id))


async def page_of_deliveries(
    reader: Reader, account: UUID, subscription_id: UUID, page: PageParams, status: str | None
) -> KeysetPage[DeliveryRow]:
    """Return a page of a subscription's deliveries, the newest first."""
    parameters: dict[str, Any] = {"account": str(account), "subscription_id": subscription_id}
    if status is not None:
        parameters["status"] = status
    found = await fetch_page(
        reader,
        _OF_SUBSCRIPTION if status is None else _OF_STATUS,
        _NEWEST_DELIVERY_FIRST,
        page,
        filters=parameters,
        parameters=parameters,
    )
    return page_of(DeliveryRow, found)


async def delivery_of(
    reader: Reader, account: UUID, subscription_id: UUID, delivery_id: UUID
) -> tuple[DeliveryRow, str] | None:
    """Return a delivery of a subscription, and its payload."""
    parameters = {"account": str(account), "subscription_id": subscription_id, "id": delivery_id}
    row = await reader.one_or_none(_DELIVERY, parameters)
    if row is None:
        return None
    *values, payload = row
    return DeliveryRow._make(values), payload


__all__ = [
    "DeliveryRow",
    "SubscriptionRow",
    "add_subscription",
    "count_subscriptions",
    "delete_subscription",
    "delivery_of",
    "page_of_deliveries",
    "page_of_subscriptions",
    "rotate_secret",
    "subscription_of",
    "subscription_to_change",
    "update_subscription",
]
