"""Background erasure of what belongs to closed accounts, one batch per transaction.

An account may own very many items, so `events.py` only records that it is closed. An erasure that
is interrupted is continued by another replica or after the next start.
"""

import asyncio
from datetime import timedelta
from typing import Final

from prometheus_client import Counter
from sqlalchemy.ext.asyncio import AsyncSession

from items import export_repository, repository
from items.settings import ItemsSettings
from service_platform.background import TaskSupervisor
from service_platform.database import Database
from service_platform.idempotency import forget_keys
from service_platform.jobs import forget_jobs
from service_platform.webhooks import forget_webhooks

BATCH: Final = 1_000
POLL_SECONDS: Final = 1.0
PAUSE_SECONDS: Final = 0.01
"""Between two batches, so that requests get the database, too."""

DELETIONS: Final = (repository.delete_some_items,)
"""What deletes a batch of an account's rows, one for each table."""

erased = Counter("items_erased_total", "Items of closed accounts that were deleted.")


class Erasure:
    """Erases the data of closed accounts for as long as the process lives; a resource.

    Args:
        settings: how long a request may take.
        database: of items; must start before and stop after this.
    """

    name = "erasure"
    critical = False

    def __init__(self, settings: ItemsSettings, database: Database) -> None:
        self._database = database
        # A request that began before the account was closed may still commit an item until then.
        self._settled = timedelta(seconds=2 * settings.request_timeout_seconds)
        self._tasks = TaskSupervisor("erasure")

    async def start(self) -> None:
        """Start the background task."""
        self._tasks.every(POLL_SECONDS, self._erase)

    async def stop(self) -> None:
        """Stop the background task."""
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

        Returns:
            False when no account is waiting, or other replicas are at work on all of them.
        """
        account_id = await repository.account_to_erase(session)
        if account_id is None:
            return False
        for delete_some in DELETIONS:
            deleted = await delete_some(session, account_id, BATCH)
            erased.inc(deleted)
            if deleted == BATCH:
                return True
        if not await forget_webhooks(session, account_id, BATCH):
            return True
        await export_repository.delete_exports(session, account_id)
        await forget_jobs(session, account_id)
        await forget_keys(session, account_id)
        await repository.finish_erasure(session, account_id, self._settled)
        return True


__all__ = ["BATCH", "Erasure"]
