"""Deletes what nobody needs any more: in the background, a batch in each transaction."""

from datetime import timedelta
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from auth import repository
from auth.settings import AuthSettings
from service_platform.background import TaskSupervisor
from service_platform.database import Database

CLEAN_SECONDS: Final = 600.0
SESSIONS_KEPT: Final = timedelta(days=30)
BATCH: Final = 1_000


class Retention:
    """Deletes old revocations, sessions and audit events; a resource.

    Args:
        settings: how long audit events are kept.
        database: of auth; must start before and stop after this.
    """

    name = "retention"
    critical = False

    def __init__(self, settings: AuthSettings, database: Database) -> None:
        self._database = database
        self._audit_kept = timedelta(days=settings.audit_retention_days)
        self._tasks = TaskSupervisor("retention")

    async def start(self) -> None:
        """Begin to delete, now and every ten minutes."""
        self._tasks.every(CLEAN_SECONDS, self._clean)

    async def stop(self) -> None:
        """End; the next start goes on."""
        await self._tasks.stop()

    async def check(self) -> None:
        """Raise `HealthCheckError` while deleting fails."""
        self._tasks.check()

    async def _clean(self) -> None:
        while await self._database.run(self.clean_batch):
            pass

    async def clean_batch(self, session: AsyncSession) -> bool:
        """Delete a batch in the caller's transaction; returns whether there may be more."""
        await repository.delete_old_revocations(session)
        sessions = await repository.delete_old_sessions(session, SESSIONS_KEPT, BATCH)
        events = await repository.delete_old_audit_events(session, self._audit_kept, BATCH)
        return BATCH in {sessions, events}
