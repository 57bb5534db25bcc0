"""Publishes revocations: tells every service which sessions and accounts are over.

A revocation is a row written in the transaction of the change (`record`). Right after the commit it
is appended to the Redis stream that all services follow; while Redis is away it waits in the table,
and a Redis that came back without its data gets everything again that still matters.
"""

import asyncio
import time
from typing import Any, Final, cast
from uuid import UUID

from prometheus_client import Counter
from redis.asyncio import Redis
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession

from auth import repository
from auth.repository import RevocationRow
from auth.settings import AuthSettings
from service_platform.background import TaskSupervisor
from service_platform.database import Database
from service_platform.identity.revocation import STREAM, Kind, Revocation
from service_platform.ids import new_id
from service_platform.redis_client import RedisClient

POLL_SECONDS: Final = 1.0
"""How often rows of a replica that died before it could publish them are looked for."""

BATCH: Final = 200
MARGIN_SECONDS: Final = 60
"""How much longer than a token lives its revocation is kept: clocks differ."""

published = Counter("auth_revocations_told_total", "Revocations appended to the stream.")


class Broadcast:
    """Moves revocations from the table to the stream for as long as the process lives; a resource.

    Args:
        settings: how long a token lives.
        database: has the table; must start before and stop after this.
        redis: has the stream.
    """

    name = "broadcast"
    critical = False

    def __init__(self, settings: AuthSettings, database: Database, redis: RedisClient) -> None:
        self._lifetime = settings.access_token_expire_minutes * 60 + MARGIN_SECONDS
        self._database = database
        self._redis = redis
        self._wanted = asyncio.Event()
        self._tasks = TaskSupervisor("broadcast")

    async def start(self) -> None:
        """Begin to publish."""
        self._tasks.every(POLL_SECONDS, self._publish, wake=self._wanted)

    async def stop(self) -> None:
        """End; what is unpublished is published by another replica, or after the next start."""
        await self._tasks.stop()

    async def check(self) -> None:
        """Raise `HealthCheckError` while revocations cannot be published; they wait safely."""
        self._tasks.check()

    async def record(
        self,
        session: AsyncSession,
        kind: Kind,
        subject: UUID | None,
        *,
        at: int | None = None,
        spared: UUID | None = None,
    ) -> None:
        """Write a revocation in the caller's transaction; it is published once that is committed.

        Args:
            session: the unit of work.
            kind: see `Revocation`.
            subject: see `Revocation`.
            at: see `Revocation`; the present moment where omitted.
            spared: see `Revocation`.
        """
        now = time.time()
        revocation = RevocationRow(
            id=new_id(),
            kind=kind,
            subject=subject,
            at=at if at is not None else int(now * 1000),
            until=int(now) + self._lifetime,
            spared=spared,
        )
        await repository.add_revocation(session, revocation)
        event.listen(session.sync_session, "after_commit", self._committed, once=True)

    def _committed(self, _session: object) -> None:
        self._wanted.set()

    async def _publish(self) -> None:
        """Publish everything that waits, after what Redis may have lost."""
        if not await self._client().exists(STREAM):
            await self._database.run(repository.publish_again)
        while await self.publish_batch():
            pass

    async def publish_batch(self) -> bool:
        """Append waiting revocations to the stream; returns whether there may be more.

        Replicas share the work. Published twice (a crash between stream and commit) does no harm.
        """
        async with self._database.session() as session:
            rows = await repository.unpublished_revocations(session, BATCH)
            if rows:
                await self._append([_revocation(row) for row in rows])
                await repository.mark_published(session, [row.id for row in rows])
                await session.commit()
        return len(rows) == BATCH

    async def _append(self, revocations: list[Revocation]) -> None:
        oldest = int((time.time() - self._lifetime) * 1000)
        pipeline = self._client().pipeline(transaction=False)
        for revocation in revocations:
            fields = cast("dict[Any, Any]", revocation.to_fields())
            pipeline.xadd(STREAM, fields, minid=oldest, approximate=True)
        await pipeline.execute()
        published.inc(len(revocations))

    def _client(self) -> "Redis":
        return self._redis.client


def _revocation(row: RevocationRow) -> Revocation:
    return Revocation(
        kind=cast("Kind", row.kind),
        subject=row.subject,
        at=row.at,
        until=row.until,
        spared=row.spared,
    )
