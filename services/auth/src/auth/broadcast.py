"""Tells every service which sessions and accounts are over.

A revocation is a row written in the transaction of the change (`record`). Right after the commit it
is appended to the Redis stream that all services follow; while Redis is away it waits here, and a
Redis that came back without its data gets everything again that still matters.
"""

import asyncio
import time
from datetime import timedelta
from typing import Any, Final, cast
from uuid import UUID

from prometheus_client import Counter
from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy import delete, event, func, insert, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from auth.models import RevocationRecord, Session
from auth.settings import AuthSettings
from service_platform import tasks
from service_platform.database import Database
from service_platform.identity.revocation import STREAM, Kind, Revocation
from service_platform.ids import new_id
from service_platform.logging import get_logger
from service_platform.redis_client import RedisClient

POLL_SECONDS: Final = 1.0
"""How often rows of a replica that died before it could tell them are looked for."""

BATCH: Final = 200
MARGIN_SECONDS: Final = 60
"""How much longer than a token lives its revocation is kept: clocks differ."""

CLEAN_SECONDS: Final = 600.0
SESSIONS_KEPT: Final = timedelta(days=30)
CLEAN_BATCH: Final = 1_000

told = Counter("auth_revocations_told_total", "Revocations appended to the stream.")

log = get_logger("auth.broadcast")


class Broadcast:
    """Brings revocations from the table to the stream, and cleans up behind; a resource."""

    name = "broadcast"
    critical = False

    def __init__(self, settings: AuthSettings, database: Database, redis: RedisClient) -> None:
        self._lifetime = settings.access_token_expire_minutes * 60 + MARGIN_SECONDS
        self._database = database
        self._redis = redis
        self._wanted = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin."""
        self._tasks = [
            asyncio.create_task(self._run(), name="revocation-broadcast"),
            asyncio.create_task(self._clean(), name="auth-retention"),
        ]

    async def stop(self) -> None:
        """End; what is not told yet is told by another replica, or at the next start."""
        await tasks.end(*self._tasks)
        self._tasks = []

    async def check(self) -> None:
        """Always healthy: Redis and the database report themselves."""

    async def record(
        self,
        session: AsyncSession,
        kind: Kind,
        subject: UUID | None,
        *,
        at: int | None = None,
        spared: UUID | None = None,
    ) -> None:
        """Write a revocation in the caller's transaction; it is told once that is committed.

        Args:
            session: the unit of work.
            kind: see `Revocation`.
            subject: see `Revocation`.
            at: see `Revocation`; the present moment unless told.
            spared: see `Revocation`.
        """
        await session.execute(
            insert(RevocationRecord).values(**self._row(kind, subject, at, spared))
        )
        event.listen(session.sync_session, "after_commit", self._committed, once=True)

    def _row(self, kind: Kind, subject: UUID | None, at: int | None, spared: UUID | None) -> Any:
        now = time.time()
        return {
            "id": new_id(),
            "kind": kind,
            "subject": subject,
            "at": at if at is not None else int(now * 1000),
            "until": int(now) + self._lifetime,
            "spared": spared,
        }

    def _committed(self, _: object) -> None:
        self._wanted.set()

    async def _run(self) -> None:
        failing = False
        while True:
            try:
                async with asyncio.timeout(POLL_SECONDS):
                    await self._wanted.wait()
            except TimeoutError:
                pass
            self._wanted.clear()
            try:
                await self._repeat_what_redis_lost()
                while await self.tell():
                    pass
                failing = False
            except (RedisError, SQLAlchemyError, OSError, TimeoutError) as error:
                if not failing:
                    log.warning("revocations_not_told", error=type(error).__name__)
                failing = True

    async def tell(self) -> bool:
        """Append waiting revocations to the stream; says whether there may be more.

        Replicas share the work. Told twice (a crash between stream and commit) does no harm.
        """
        waiting = (
            select(RevocationRecord)
            .where(RevocationRecord.published_at.is_(None))
            .order_by(RevocationRecord.id)
            .limit(BATCH)
            .with_for_update(skip_locked=True)
        )
        async with self._database.engine.begin() as connection:
            rows = (await connection.execute(waiting)).all()
            if rows:
                await self._append([_revocation(row) for row in rows])
                await connection.execute(
                    update(RevocationRecord)
                    .where(RevocationRecord.id.in_([row.id for row in rows]))
                    .values(published_at=func.now())
                )
        return len(rows) == BATCH

    async def _append(self, revocations: list[Revocation]) -> None:
        oldest = int((time.time() - self._lifetime) * 1000)
        pipeline = self._client().pipeline(transaction=False)
        for revocation in revocations:
            fields = cast("dict[Any, Any]", revocation.fields())
            pipeline.xadd(STREAM, fields, minid=oldest, approximate=True)
        await pipeline.execute()
        told.inc(len(revocations))

    async def _repeat_what_redis_lost(self) -> None:
        """Where the stream is gone, tell again whatever still concerns a living token."""
        if await self._client().exists(STREAM):
            return
        async with self._database.engine.begin() as connection:
            await connection.execute(
                update(RevocationRecord)
                .where(
                    RevocationRecord.until > int(time.time()),
                    RevocationRecord.published_at.is_not(None),
                )
                .values(published_at=None)
            )

    def _client(self) -> "Redis":
        return self._redis.client

    async def _clean(self) -> None:
        """Delete what nobody needs any more, in small steps."""
        while True:
            try:
                async with self._database.engine.begin() as connection:
                    await clean(connection)
            except (SQLAlchemyError, OSError) as error:
                log.warning("cleaning_failed", error=type(error).__name__)
            await asyncio.sleep(CLEAN_SECONDS)


async def clean(connection: AsyncConnection) -> None:
    """Delete revocations that concern no living token and sessions that ended long ago."""
    await connection.execute(
        delete(RevocationRecord).where(
            RevocationRecord.until < int(time.time()), RevocationRecord.published_at.is_not(None)
        )
    )
    over = (
        select(Session.id)
        .where(func.coalesce(Session.ended_at, Session.idle_until) < func.now() - SESSIONS_KEPT)
        .limit(CLEAN_BATCH)
    )
    await connection.execute(delete(Session).where(Session.id.in_(over)))


def _revocation(row: Any) -> Revocation:
    return Revocation(
        kind=row.kind, subject=row.subject, at=row.at, until=row.until, spared=row.spared
    )
