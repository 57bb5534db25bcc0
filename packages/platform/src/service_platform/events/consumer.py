"""The consumer: applies a stream's events to a service's database, each once.

Every replica of a listening service has one; together they are a consumer group, in which Redis
gives each entry to one of them. Entries are acknowledged after the commit of their effects. What a
replica leaves behind when it dies is claimed by another, what cannot be applied is tried again with
growing waits and is a dead letter in the end; entries behind it do not wait.
"""

import asyncio
import os
import secrets
import socket
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from redis.exceptions import RedisError, ResponseError
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from service_platform.background import TaskSupervisor
from service_platform.database import Database
from service_platform.errors import ServiceUnavailable
from service_platform.errors.database import database_problem
from service_platform.events import inbox, metrics
from service_platform.events.event import Event, Message, UnreadableEventError, decode_envelope
from service_platform.events.handlers import Handlers
from service_platform.events.inbox import Outcome
from service_platform.events.settings import EventSettings
from service_platform.events.stream import Delivery, GroupStream, connect
from service_platform.logging import get_logger
from service_platform.redis_client import refuse_unsupported
from service_platform.redis_connection import is_wrong_server
from service_platform.resources import HealthCheckError

RECOVER_SECONDS: Final = 0.5
OBSERVE_SECONDS: Final = 5.0
CLEAN_SECONDS: Final = 30.0
CLEAN_BATCH: Final = 1_000
OUTAGE_SECONDS: Final = 0.5
FORGET_CONSUMER_SECONDS: Final = 3600.0
SUSPECT_DELIVERIES: Final = 3
"""An entry delivered more often than this is applied alone, should it be what kills its replica."""
KILLER_DELIVERIES: Final = 10
"""Deliveries beyond the tries after which an entry is taken for just that."""

log = get_logger("service_platform.events")


class Consumer:
    """Applies a stream's events for as long as the process lives; a resource.

    Args:
        settings: addresses, batch size, tries, times.
        database: of the service, with an inbox; must start before and stop after the consumer.
        stream: name of the stream, such as `auth`.
        group: name of the consumer group, the listening service's.
        handlers: what to do with each kind of event; others are passed over.
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
        self._settings = settings
        self._database = database
        self._handlers = handlers
        consumer = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._stream = GroupStream(connect(settings), stream, group, consumer)
        self._waiting_client = connect(settings, block=True)
        self._tasks = TaskSupervisor("event_consumer")
        self._reading = True

    async def start(self) -> None:
        """Begin to listen.

        Raises:
            StartError: Redis is of a kind that cannot be used.
        """
        await refuse_unsupported(self._stream.client)
        self._tasks.run(self._read)
        self._tasks.every(RECOVER_SECONDS, self._recover)
        self._tasks.every(OBSERVE_SECONDS, self._observe)
        self._tasks.every(CLEAN_SECONDS, self._clean)

    async def stop(self) -> None:
        """Stop; unfinished events go to another replica at once, or to the next start."""
        await self._tasks.stop()
        try:
            await self._stream.leave()
        except (RedisError, OSError) as error:
            log.debug("consumer_not_removed", error=type(error).__name__)
        await self._waiting_client.aclose()
        await self._stream.client.aclose()

    async def check(self) -> None:
        """Raise `HealthCheckError` while nothing can be heard; being late is not being ill."""
        if not self._reading:
            raise HealthCheckError("events_unavailable")
        self._tasks.check()

    async def _read(self) -> None:
        """Read what is new and apply it."""
        while True:
            try:
                deliveries = await self._stream.read(
                    self._waiting_client, self._settings.events_batch_size
                )
                self._tell_reading(True)
                await self._handle(deliveries)
            except (RedisError, OSError) as error:
                if isinstance(error, ResponseError) and not is_wrong_server(error):
                    if not str(error).startswith(("NOGROUP", "UNBLOCKED")):
                        raise
                    await self._stream.create_group()
                    continue
                self._tell_reading(False, error)
                await asyncio.sleep(OUTAGE_SECONDS)

    def _tell_reading(self, reading: bool, error: Exception | None = None) -> None:
        if self._reading and not reading:
            log.warning("events_unavailable", error=type(error).__name__)
        elif reading and not self._reading:
            log.info("events_available")
        self._reading = reading

    async def _recover(self) -> None:
        """Apply what failed and is due again, and what other consumers left behind."""
        for delivery in await self._stream.claim_due(self._settings.events_batch_size):
            await self._handle([delivery])
        while claimed := await self._stream.claim_abandoned(
            self._settings.events_claim_seconds, self._settings.events_batch_size
        ):
            await self._handle_claimed(claimed)

    async def _handle_claimed(self, claimed: list[Delivery]) -> None:
        """Apply entries whose consumer may have died of one of them.

        Suspects are applied one by one, oldest first, so that of those that are still there when
        the replica has died again the oldest is to blame.
        """
        limit = self._settings.events_attempts + KILLER_DELIVERIES
        await self._handle([each for each in claimed if each.times <= SUSPECT_DELIVERIES])
        suspects = [each for each in claimed if each.times > SUSPECT_DELIVERIES]
        for number, delivery in enumerate(suspects):
            if number == 0 and delivery.times > limit:
                await self._bury(delivery, delivery.times, "the process ended each time")
            else:
                await self._handle([delivery])

    async def _handle(self, deliveries: Sequence[Delivery]) -> None:
        """Apply entries and acknowledge them, together where nothing fails."""
        readable: list[tuple[Delivery, Message[Event]]] = []
        passed_over = []
        for delivery in deliveries:
            try:
                message = self._message(delivery)
            except UnreadableEventError as error:
                await self._fail(delivery, "unknown", error)
                continue
            if message is None:
                passed_over.append(delivery.id)
            else:
                readable.append((delivery, message))
        await self._stream.acknowledge(passed_over)
        if readable:
            await self._apply(readable)

    def _message(self, delivery: Delivery) -> Message[Event] | None:
        """The event, or `None` where this service has nothing to do with it."""
        if delivery.group not in {None, self._stream.group}:
            return None
        envelope = decode_envelope(delivery.content)
        if not self._handlers.listens_to(envelope):
            metrics.handled.labels(self._stream.name, envelope.type, "ignored").inc()
            return None
        return self._handlers.read(envelope)

    async def _apply(self, batch: list[tuple[Delivery, Message[Event]]]) -> None:
        """Apply a batch in one transaction; where that fails, each event in one of its own."""
        messages = [message for _, message in batch]
        try:
            outcomes = await self._apply_when_database_answers(messages)
        except Exception as error:  # noqa: BLE001 - a handler may raise anything
            if len(batch) == 1:
                await self._fail(batch[0][0], messages[0].event.type, error)
                return
            for each in batch:
                await self._apply([each])
            return
        await self._stream.acknowledge([delivery.id for delivery, _ in batch])
        self._count(messages, outcomes)

    async def _apply_when_database_answers(self, messages: list[Message[Event]]) -> list[Outcome]:
        """Apply events in one transaction; a database that is away is waited for."""

        async def work(session: AsyncSession) -> list[Outcome]:
            return await inbox.apply(session, self._stream.name, messages, self._handlers)

        while True:
            try:
                return await self._database.run(work)
            except (SQLAlchemyError, OSError) as error:
                if not await self._is_outage(error):
                    raise
            await asyncio.sleep(OUTAGE_SECONDS)

    def _count(self, messages: list[Message[Event]], outcomes: list[Outcome]) -> None:
        now = datetime.now(UTC)
        for message, outcome in zip(messages, outcomes, strict=True):
            metrics.handled.labels(self._stream.name, message.event.type, outcome).inc()
            if outcome is Outcome.APPLIED:
                delay = (now - message.time).total_seconds()
                metrics.delay_seconds.labels(self._stream.name).observe(max(delay, 0.0))

    async def _is_outage(self, error: SQLAlchemyError | OSError) -> bool:
        """Whether the database is the reason, rather than the event."""
        if isinstance(error, SQLAlchemyError) and isinstance(
            database_problem(error), ServiceUnavailable
        ):
            return True
        try:
            await self._database.run(inbox.probe)
        except (SQLAlchemyError, OSError):
            return True
        return False

    async def _fail(self, delivery: Delivery, kind: str, error: Exception) -> None:
        """Set a later try, or give the event up."""
        metrics.failures.labels(self._stream.name, kind).inc()
        tries = await self._stream.count_failure(delivery.id)
        reason = str(error) if isinstance(error, UnreadableEventError) else type(error).__name__
        log.warning(
            "event_failed",
            stream=self._stream.name,
            entry=delivery.id.decode(),
            type=kind,
            tries=tries,
            exc_info=error,
        )
        if tries >= self._settings.events_attempts:
            await self._bury(delivery, tries, reason)
            return
        # Never as long as the time after which others would claim it.
        wait = min(
            self._settings.events_retry_seconds * 2 ** (tries - 1),
            self._settings.events_claim_seconds / 2,
        )
        await self._stream.try_again_in(delivery.id, wait)

    async def _bury(self, delivery: Delivery, tries: int, reason: str) -> None:
        await self._stream.bury(delivery, tries=tries, reason=reason)
        log.error(
            "event_given_up",
            stream=self._stream.name,
            entry=delivery.id.decode(),
            tries=tries,
            reason=reason,
        )

    async def _observe(self) -> None:
        """Set the gauges."""
        names = (self._stream.name, self._stream.group)
        pending, age = await self._stream.lag()
        metrics.consumer_pending.labels(*names).set(pending)
        metrics.consumer_lag_seconds.labels(*names).set(age)
        metrics.dead_letters.labels(*names).set(await self._stream.dead_letters())

    async def _clean(self) -> None:
        """Forget old inbox rows, old dead letters and consumers that are long gone."""
        days = self._settings.events_inbox_days

        async def clean(session: AsyncSession) -> int:
            return await inbox.clean(session, days, CLEAN_BATCH)

        while await self._database.run(clean) == CLEAN_BATCH:
            pass
        dead_days = self._settings.events_dead_letter_days
        await self._stream.drop_dead_letters(
            before_ms=round((time.time() - dead_days * 86_400) * 1000)
        )
        await self._stream.forget_dead_consumers(FORGET_CONSUMER_SECONDS)


__all__ = ["Consumer"]
