"""The outbox relay: appends events from the outbox to the stream, in order, at least once.

Every replica of a producing service has one. Of all of them one works at a time: each batch is a
transaction that holds an advisory lock, so that order is kept and another relay goes on when one
dies. An event that was appended by a relay that then died before its commit is appended again by
the next; consumers recognise it by its id.
"""

import asyncio
import contextlib
import random
import time
from typing import Final

from opentelemetry.trace import SpanKind
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from service_platform.background import TaskSupervisor
from service_platform.database import Database
from service_platform.database.notifications import listen
from service_platform.events import metrics, outbox
from service_platform.events.cloudevents import encode_cloudevent
from service_platform.events.settings import EventSettings
from service_platform.events.stream import EventStream, StreamDataLossError, connect
from service_platform.logging import get_logger
from service_platform.redis_client import refuse_unsupported
from service_platform.resources import HealthCheckError
from service_platform.telemetry.messaging_spans import EventTrace, batch_span

DELETE_BATCH: Final = 1_000
MARK_PENDING_BATCH: Final = 10_000
METRICS_SECONDS: Final = 5.0
CLEANUP_SECONDS: Final = 30.0

log = get_logger("service_platform.events")


class Relay:
    """Appends a service's events to its stream in the background; a resource.

    While Redis is away, events wait in the outbox.

    Args:
        settings: addresses, batch size, times.
        database: of the service, with an outbox; must start before and stop after the relay.
        stream: name of the stream, the service's own.
    """

    name = "event_relay"
    critical = False

    def __init__(self, settings: EventSettings, database: Database, *, stream: str) -> None:
        self._settings = settings
        self._database = database
        self.stream = stream
        self._stream = EventStream(connect(settings), stream)
        self._wake = asyncio.Event()
        self._tasks = TaskSupervisor("event_relay")
        self._working = True

    async def start(self) -> None:
        """Start to relay events.

        Raises:
            StartError: Redis is of a kind that cannot be used.
        """
        await refuse_unsupported(self._stream.client)
        self._tasks.run(self._relay)
        if self._settings.database_pooler == "none":  # a pooler's sessions cannot LISTEN
            self._tasks.run(self._listen)
        self._tasks.every(METRICS_SECONDS, self._update_metrics)
        self._tasks.every(CLEANUP_SECONDS, self._clean_up)

    async def stop(self) -> None:
        """Stop; pending events are relayed by another replica or after the next start."""
        await self._tasks.stop()
        await self._stream.client.aclose()

    async def check(self) -> None:
        """Raise `HealthCheckError` while events cannot be relayed; they wait in the outbox."""
        if not self._working:
            raise HealthCheckError("events_waiting")
        self._tasks.check()

    async def _relay(self) -> None:
        """Relay until nothing is pending, then wait for a notification or the next poll."""
        while True:
            self._wake.clear()
            await self._relay_pending()
            if not self._working:
                # Random, so that not all replicas try at once.
                await asyncio.sleep(random.uniform(0.2, 0.6))  # noqa: S311 - not a secret
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.events_poll_seconds):
                    await self._wake.wait()

    async def _relay_pending(self) -> None:
        try:
            if not self._working:
                await self._stream.client.ping()  # before a transaction that would wait for it
            while await self._database.run(self._relay_batch, attempts=1):
                pass
        except StreamDataLossError as error:
            await self._relay_lost_again(error)
        except (RedisError, SQLAlchemyError, OSError) as error:
            if self._working:
                log.warning("events_waiting", stream=self._stream.name, error=type(error).__name__)
            self._working = False
        else:
            if not self._working:
                log.info("events_relayed_again", stream=self._stream.name)
            self._working = True

    async def _relay_batch(self, session: AsyncSession) -> int:
        """Relay one batch in a transaction; return how many, 0 also when another relay works."""
        if not await outbox.try_lock_relay(session):
            return 0
        events = await outbox.pending_events(session, self._settings.events_batch_size)
        traces = [EventTrace.of_cloudevent(each.attributes) for each in events]
        with batch_span("send", SpanKind.PRODUCER, self._stream.name, traces):
            # Also without events, so that a loss of data in Redis is noticed now and not only at
            # the next event.
            entry_ids = await self._stream.append(
                [
                    (
                        encode_cloudevent(
                            each.attributes, source=self._stream.name, sequence=each.sequence
                        ),
                        each.recipient,
                    )
                    for each in events
                ],
                newest_known=await outbox.newest_relayed(session),
            )
            if events:
                await outbox.mark_relayed(session, events, entry_ids)
                metrics.relayed.labels(self._stream.name).inc(len(events))
        return len(events)

    async def _relay_lost_again(self, error: StreamDataLossError) -> None:
        """Mark the lost events as pending; the next round relays them in their order."""

        async def mark_pending(session: AsyncSession) -> int:
            if not await outbox.try_lock_relay(session):
                return 0
            return await outbox.mark_pending_after(session, error.newest, MARK_PENDING_BATCH)

        lost = 0
        while count := await self._database.run(mark_pending):
            lost += count
        if lost:
            log.warning("events_lost_by_redis", stream=self._stream.name, relayed_again=lost)
            metrics.relayed_again.labels(self._stream.name).inc(lost)
        self._wake.set()

    async def _listen(self) -> None:
        """Listen for notifications of published events."""
        await listen(
            self._settings,
            outbox.NOTIFY_CHANNEL,
            self._wake.set,
            reconnect_seconds=self._settings.events_poll_seconds,
        )

    async def _update_metrics(self) -> None:
        """Set the gauges of the outbox and the stream."""
        pending, oldest = await self._database.run(outbox.backlog)
        metrics.outbox_pending.labels(self._stream.name).set(pending)
        metrics.outbox_oldest_seconds.labels(self._stream.name).set(oldest)
        metrics.stream_entries.labels(self._stream.name).set(await self._stream.length())
        await self._stream.register()

    async def _clean_up(self) -> None:
        """Delete old events from the outbox and, where every group applied them, the stream."""
        before_ms = round((time.time() - self._settings.events_retention_hours * 3600) * 1000)

        async def delete(session: AsyncSession) -> int:
            return await outbox.delete_relayed(session, before_ms, DELETE_BATCH)

        while await self._database.run(delete) == DELETE_BATCH:
            pass
        await self._stream.trim(before_ms=before_ms)


__all__ = ["Relay"]
