"""Deletes what belongs to closed accounts: in the background, a batch in each transaction.

An account may own very many items, so `events.py` only notes that it is closed. Whatever interrupts
the deletion, some replica goes on where it ended.
"""

import asyncio
from datetime import timedelta
from typing import Final

from prometheus_client import Counter
from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from items.models import ClosedAccount, Item, idempotency_keys
from items.settings import ItemsSettings
from service_platform.background import TaskSupervisor
from service_platform.database import Database

BATCH: Final = 1_000
LOOK_SECONDS: Final = 1.0
PAUSE_SECONDS: Final = 0.01
"""Between two batches: requests want the database, too."""

erased = Counter("items_erased_total", "Items of closed accounts that were deleted.")


class Erasure:
    """Erases for as long as the process lives; a resource.

    Args:
        settings: how long a request may take.
        database: of items; must start before and stop after this.
    """

    name = "erasure"
    critical = False

    def __init__(self, settings: ItemsSettings, database: Database) -> None:
        self._database = database
        # A request from before the closing was heard may still commit an item, and no later one.
        self._settled = timedelta(seconds=2 * settings.request_timeout_seconds)
        self._tasks = TaskSupervisor("erasure")

    async def start(self) -> None:
        """Begin."""
        self._tasks.every(LOOK_SECONDS, self._erase)

    async def stop(self) -> None:
        """End; what is not erased yet is erased by another replica or after the next start."""
        await self._tasks.stop()

    async def check(self) -> None:
        """Raise `HealthCheckError` while erasing fails."""
        self._tasks.check()

    async def _erase(self) -> None:
        """Erase until no account is waiting."""
        waiting = True
        while waiting:
            waiting = await self._database.run(self.erase_batch)
            await asyncio.sleep(PAUSE_SECONDS)

    async def erase_batch(self, session: AsyncSession) -> bool:
        """Erase a batch of one account's rows in the caller's transaction.

        An account without rows is looked at once more when no request can be under way that began
        before it was closed.

        Returns:
            False when no account is waiting, or others are at work on all of them.
        """
        account = await session.scalar(
            select(ClosedAccount.account_id)
            .where(ClosedAccount.erase_at <= func.now())
            .order_by(ClosedAccount.erase_at)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        if account is None:
            return False
        some = select(Item.id).where(Item.owner_id == account).limit(BATCH).scalar_subquery()
        gone = (
            await session.scalars(delete(Item).where(Item.id.in_(some)).returning(Item.id))
        ).all()
        erased.inc(len(gone))
        if len(gone) < BATCH:
            await session.execute(
                delete(idempotency_keys).where(idempotency_keys.c.account == str(account))
            )
            settled_at = ClosedAccount.closed_at + self._settled
            await session.execute(
                update(ClosedAccount)
                .where(ClosedAccount.account_id == account)
                .values(erase_at=func.nullif(func.greatest(settled_at, func.now()), func.now()))
                .execution_options(synchronize_session=False)
            )
        return True


__all__ = ["BATCH", "Erasure"]
