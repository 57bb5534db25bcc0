"""The consumer: reads a stream and applies its events to a service's database, each once.

Every replica of a consuming service has one; together they are a consumer group, in which Redis
delivers each entry to one of them. Entries are acknowledged after the commit of their effects. The
entries of a replica that died are claimed by another. An event that cannot be applied is retried
with exponential backoff and becomes a dead letter in the end; later events do not wait for it.
"""

import asyncio
import os
import secrets
import socket
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from opentelemetry.trace import SpanKind
from redis.exceptions import RedisError, ResponseError
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from service_platform.background import TaskSupervisor
from service_platform.database import Database
from service_platform.errors import ServiceUnavailable
from service_platform.errors.database import database_problem
from service_platform.events import inbox, metrics
from service_platform.events.cloudevents import EventDecodeError, decode_cloudevent
from service_platform.events.consumer_group import ConsumerGroup, Delivery
from service_platform.events.event import Event, Message
from service_platform.events.handlers import Handlers
from service_platform.events.inbox import Outcome
from service_platform.events.settings import EventSettings
from service_platform.events.stream import connect
from service_platform.logging import get_logger
from service_platform.redis_client import refuse_unsupported
from service_platform.redis_connection import is_wrong_server
from service_platform.resources import HealthCheckError
from service_platform.telemetry.messaging_spans import batch_span, event_span

RETRY_CHECK_SECONDS: Final = 0.5
METRICS_SECONDS: Final = 5.0
CLEANUP_SECONDS: Final = 30.0
DELETE_BATCH: Final = 1_000
OUTAGE_RETRY_SECONDS: Final = 0.5
IDLE_CONSUMER_SECONDS: Final = 3600.0
APPLY_ALONE_AFTER: Final = 3
"""An entry delivered more often is applied alone, because it may be what crashes its consumers."""
CRASH_DELIVERIES: Final = 10
"""Deliveries beyond the tries after which an entry is taken to crash its consumers."""

log = get_logger("service_platform.events")


class Consumer:
    """Applies a stream's events in the background; a resource.

    Args:
        settings: addresses, batch size, tries, times.
        database: of the service, with an inbox; must start before and stop after the consumer.
        stream: name of the stream, such as `auth`.
        group: name of the consumer group, the consuming service's.
        handlers: of the event types the service consumes; others are skipped.
    """

    name = "event_consumer"
    critical = False

    def __init__(
        self,
        settings: EventSettings,
        database: Database,
        *,
        stream: str,
        group: str,
        handlers: Handlers,
    ) -> None:
        self.stream = stream
        self._settings = settings
        self._database = database
        self._handlers = handlers
        consumer = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._group = ConsumerGroup(connect(settings), stream, group, consumer)
        self._blocking_client = connect(settings, block=True)
        self._tasks = TaskSupervisor("event_consumer")
        self._reading = True
        self._has_group = False

    async def start(self) -> None:
        """Start to consume events.

        Raises:
            StartError: Redis is of a kind that cannot be used.
        """
        await refuse_unsupported(self._group.client)
        self._tasks.run(self._read)
        self._tasks.every(RETRY_CHECK_SECONDS, self._retry_and_claim)
        self._tasks.every(METRICS_SECONDS, self._update_metrics)
        self._tasks.every(CLEANUP_SECONDS, self._clean_up)

    async def stop(self) -> None:
        """Stop; pending events can be claimed by another replica at once."""
        await self._tasks.stop()
        try:
            await self._group.leave_group()
        except (RedisError, OSError) as error:
            log.debug("consumer_not_removed", error=type(error).__name__)
        await self._blocking_client.aclose()
        await self._group.client.aclose()

    async def check(self) -> None:
        """Raise `HealthCheckError` while the stream cannot be read; a lag is no failure."""
        if not self._reading:
            raise HealthCheckError("events_unavailable")
        self._tasks.check()

    async def _read(self) -> None:
        """Read new entries and apply them."""
        while True:
            try:
                deliveries = await self._group.read(
                    self._blocking_client, self._settings.events_batch_size
                )
                self._set_reading(True)
                self._has_group = True
                await self._handle(deliveries)
            except (RedisError, OSError) as error:
                self._has_group = False  # until it is seen again
                if isinstance(error, ResponseError) and not is_wrong_server(error):
                    if not str(error).startswith(("NOGROUP", "UNBLOCKED")):
                        raise
                    await self._group.create()
                    self._has_group = True
                    continue
                self._set_reading(False, error)
                await asyncio.sleep(OUTAGE_RETRY_SECONDS)

    def _set_reading(self, reading: bool, error: Exception | None = None) -> None:
        if self._reading and not reading:
            log.warning("events_unavailable", error=type(error).__name__)
        elif reading and not self._reading:
            log.info("events_available")
        self._reading = reading

    async def _retry_and_claim(self) -> None:
        """Apply entries whose retry is due, and entries that other consumers left pending."""
        if not self._has_group:  # which the reader creates
            return
        for delivery in await self._group.claim_due_retries(self._settings.events_batch_size):
            await self._handle([delivery])
        while claimed := await self._group.claim_idle(
            self._settings.events_claim_seconds, self._settings.events_batch_size
        ):
            await self._handle_claimed(claimed)

    async def _handle_claimed(self, claimed: list[Delivery]) -> None:
        """Apply claimed entries, of which one may have crashed its consumer.

        Entries that were delivered often are applied one by one, oldest first. So if the process
        crashes again, the cause is the oldest of those that are still pending.
        """
        limit = self._settings.events_attempts + CRASH_DELIVERIES
        await self._handle([each for each in claimed if each.delivery_count <= APPLY_ALONE_AFTER])
        suspects = [each for each in claimed if each.delivery_count > APPLY_ALONE_AFTER]
        for number, delivery in enumerate(suspects):
            if number == 0 and delivery.delivery_count > limit:
                reason = "the process ended each time"
                await self._give_up(delivery, delivery.delivery_count, reason)
            else:
                await self._handle([delivery])

    async def _handle(self, deliveries: Sequence[Delivery]) -> None:
        """Apply entries and acknowledge them, together where nothing fails."""
        decoded: list[tuple[Delivery, Message[Event]]] = []
        skipped = []
        for delivery in deliveries:
            try:
                message = self._decode(delivery)
            except EventDecodeError as error:
                await self._fail(delivery, "unknown", error)
                continue
            if message is None:
                skipped.append(delivery.id)
            else:
                decoded.append((delivery, message))
        await self._group.acknowledge(skipped)
        if decoded:
            await self._apply(decoded)

    def _decode(self, delivery: Delivery) -> Message[Event] | None:
        """Decode an event; `None` where it is for another group or has no handler."""
        if delivery.group not in {None, self._group.name}:
            return None
        cloudevent = decode_cloudevent(delivery.content)
        if not self._handlers.has_handler(cloudevent):
            metrics.handled.labels(self._group.stream.name, cloudevent.type, "ignored").inc()
            with event_span(
                "process", SpanKind.CONSUMER, self._group.stream.name, cloudevent.trace()
            ) as span:
                span.set_attribute("messaging.process.outcome", "ignored")
            return None
        return self._handlers.decode(cloudevent)

    async def _apply(self, batch: list[tuple[Delivery, Message[Event]]]) -> None:
        """Apply a batch in one transaction; where that fails, each event in one of its own."""
        messages = [message for _, message in batch]
        stream, traces = self._group.stream.name, [message.trace() for message in messages]
        try:
            with batch_span("process", SpanKind.CONSUMER, stream, traces):
                outcomes = await self._apply_when_available(messages)
        except Exception as error:  # noqa: BLE001 - a handler may raise anything
            if len(batch) == 1:
                await self._fail(batch[0][0], messages[0].event.type, error)
                return
            for each in batch:
                await self._apply([each])
            return
        await self._group.acknowledge([delivery.id for delivery, _ in batch])
        self._count(messages, outcomes)

    async def _apply_when_available(self, messages: list[Message[Event]]) -> list[Outcome]:
        """Apply events in one transaction, waiting while the database is away."""

        async def work(session: AsyncSession) -> list[Outcome]:
            return await inbox.apply(session, self._group.stream.name, messages, self._handlers)

        while True:
            try:
                return await self._database.run(work)
            except (SQLAlchemyError, OSError) as error:
                if not await self._is_outage(error):
                    raise
            await asyncio.sleep(OUTAGE_RETRY_SECONDS)

    def _count(self, messages: list[Message[Event]], outcomes: list[Outcome]) -> None:
        now = datetime.now(UTC)
        for message, outcome in zip(messages, outcomes, strict=True):
            metrics.handled.labels(self._group.stream.name, message.event.type, outcome).inc()
            if outcome is Outcome.APPLIED:
                delay = (now - message.time).total_seconds()
                metrics.delay_seconds.labels(self._group.stream.name).observe(max(delay, 0.0))

    async def _is_outage(self, error: SQLAlchemyError | OSError) -> bool:
        """Return whether the database is the cause of a failure, rather than the event."""
        if isinstance(error, SQLAlchemyError) and isinstance(
            database_problem(error), ServiceUnavailable
        ):
            return True
        try:
            await self._database.run(inbox.probe)
        except (SQLAlchemyError, OSError):
            return True
        return False

    async def _fail(self, delivery: Delivery, event_type: str, error: Exception) -> None:
        """Schedule a retry of a failed event, or give it up after the last one."""
        metrics.failures.labels(self._group.stream.name, event_type).inc()
        tries = await self._group.count_failure(delivery.id)
        reason = str(error) if isinstance(error, EventDecodeError) else type(error).__name__
        log.warning(
            "event_failed",
            stream=self._group.stream.name,
            entry=delivery.id.decode(),
            type=event_type,
            tries=tries,
            exc_info=error,
        )
        if tries >= self._settings.events_attempts:
            await self._give_up(delivery, tries, reason)
            return
        # Never as long as the time after which others would claim it.
        wait = min(
            self._settings.events_retry_seconds * 2 ** (tries - 1),
            self._settings.events_claim_seconds / 2,
        )
        await self._group.schedule_retry(delivery.id, wait)

    async def _give_up(self, delivery: Delivery, tries: int, reason: str) -> None:
        await self._group.move_to_dead_letters(delivery, tries=tries, reason=reason)
        log.error(
            "event_given_up",
            stream=self._group.stream.name,
            entry=delivery.id.decode(),
            tries=tries,
            reason=reason,
        )

    async def _update_metrics(self) -> None:
        """Set the gauges of the consumer group."""
        if not self._has_group:
            return
        labels = (self._group.stream.name, self._group.name)
        pending, lag = await self._group.pending_and_lag()
        metrics.consumer_pending.labels(*labels).set(pending)
        metrics.consumer_lag_seconds.labels(*labels).set(lag)
        metrics.dead_letters.labels(*labels).set(await self._group.dead_letters.length())

    async def _clean_up(self) -> None:
        """Delete old inbox rows, old dead letters and consumers that are gone."""
        days = self._settings.events_inbox_days

        async def delete(session: AsyncSession) -> int:
            return await inbox.delete_older_than(session, days, DELETE_BATCH)

        while await self._database.run(delete) == DELETE_BATCH:
            pass
        if not self._has_group:
            return
        dead_letter_seconds = self._settings.events_dead_letter_days * 86_400
        await self._group.dead_letters.trim(
            before_ms=round((time.time() - dead_letter_seconds) * 1000)
        )
        await self._group.remove_idle_consumers(IDLE_CONSUMER_SECONDS)


__all__ = ["Consumer"]
