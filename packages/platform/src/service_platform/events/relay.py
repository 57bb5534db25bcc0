"""The relay: moves events from the outbox into the stream, in order, at least once.

Every replica of a producing service has one. Of all of them one works at a time: each batch is a
transaction that holds an advisory lock, so that order is kept and a relay that dies is replaced by
the next one that wakes. An event that was appended by a relay that then died before its commit is
appended again by the next; listeners know it by its id.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import asyncpg
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from service_platform.background import TaskSupervisor
from service_platform.database import Database, DatabaseUnavailableError
from service_platform.database.engine import Connector
from service_platform.events import metrics, outbox
from service_platform.events.event import encode
from service_platform.events.settings import EventSettings
from service_platform.events.stream import EventStream, StreamLostError, connect
from service_platform.logging import get_logger
from service_platform.redis_client import refuse_unsupported
from service_platform.resources import HealthCheckError

CLEAN_BATCH: Final = 1_000
FORGET_BATCH: Final = 10_000
OBSERVE_SECONDS: Final = 5.0
CLEAN_SECONDS: Final = 30.0
LISTEN_CHECK_SECONDS: Final = 10.0
"""How long a server that tells of commits is believed to be the primary."""
IS_STANDBY: Final = "SELECT pg_is_in_recovery()"

log = get_logger("service_platform.events")


class Relay:
    """Moves a service's events into its stream for as long as the process lives; a resource.

    Redis being away only makes events wait in the outbox.

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
        self._stream = EventStream(connect(settings), stream)
        self._wake = asyncio.Event()
        self._tasks = TaskSupervisor("event_relay")
        self._working = True

    async def start(self) -> None:
        """Begin to relay.

        Raises:
            StartError: Redis is of a kind that cannot be used.
        """
        await refuse_unsupported(self._stream.client)
        self._tasks.run(self._relay)
        if self._settings.database_pooler == "none":  # its sessions cannot listen
            self._tasks.run(self._listen)
        self._tasks.every(OBSERVE_SECONDS, self._observe)
        self._tasks.every(CLEAN_SECONDS, self._clean)

    async def stop(self) -> None:
        """Stop; what is not relayed yet is relayed by another replica or after the next start."""
        await self._tasks.stop()
        await self._stream.client.aclose()

    async def check(self) -> None:
        """Raise `HealthCheckError` while events cannot be relayed; they wait safely."""
        if not self._working:
            raise HealthCheckError("events_waiting")
        self._tasks.check()

    async def _relay(self) -> None:
        """Relay until nothing is left, then wait for a notice or the next look."""
        while True:
            self._wake.clear()
            await self._relay_waiting()
            if not self._working:
                # Everybody would be back at once; the longest wait stays well under a second.
                await asyncio.sleep(random.uniform(0.2, 0.6))  # noqa: S311 - not a secret
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.events_poll_seconds):
                    await self._wake.wait()

    async def _relay_waiting(self) -> None:
        try:
            if not self._working:
                await self._stream.client.ping()  # before a transaction that would wait for it
            while await self._database.run(self._relay_batch, attempts=1):
                pass
        except StreamLostError as error:
            await self._append_lost_again(error)
        except (RedisError, SQLAlchemyError, OSError) as error:
            if self._working:
                log.warning("events_waiting", stream=self._stream.name, error=type(error).__name__)
            self._working = False
        else:
            if not self._working:
                log.info("events_relayed_again", stream=self._stream.name)
            self._working = True

    async def _relay_batch(self, session: AsyncSession) -> int:
        """Relay one batch in one transaction; returns how many, 0 also where another one works."""
        if not await outbox.lock_relay(session):
            return 0
        events = await outbox.pending(session, self._settings.events_batch_size)
        # Also without events: a Redis that lost its data is to have it again now, not only when
        # something happens next.
        entries = await self._stream.append(
            [
                (
                    encode(each.attributes, source=self._stream.name, sequence=each.sequence),
                    each.recipient,
                )
                for each in events
            ],
            known=await outbox.newest_entry(session),
        )
        if events:
            await outbox.mark_relayed(session, events, entries)
            metrics.relayed.labels(self._stream.name).inc(len(events))
        return len(events)

    async def _append_lost_again(self, error: StreamLostError) -> None:
        """Make the lost events pending again; the next round relays them in their order."""

        async def forget(session: AsyncSession) -> int:
            if not await outbox.lock_relay(session):
                return 0
            return await outbox.forget_entries_after(session, error.newest, FORGET_BATCH)

        lost = 0
        while count := await self._database.run(forget):
            lost += count
        if lost:
            log.warning("events_lost_by_redis", stream=self._stream.name, relayed_again=lost)
            metrics.relayed_again.labels(self._stream.name).inc(lost)
        self._wake.set()

    async def _listen(self) -> None:
        """Wake at the commit of a publishing transaction, on a connection of its own."""
        connector = Connector(self._settings)
        while True:
            with contextlib.suppress(
                DatabaseUnavailableError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError
            ):
                await self._listen_on(connector.connect)
            await asyncio.sleep(self._settings.events_poll_seconds)

    async def _listen_on(self, open_connection: Callable[[], Awaitable[Any]]) -> None:
        connection = await open_connection()
        ended = asyncio.Event()
        try:
            connection.add_termination_listener(lambda _: ended.set())
            await connection.add_listener(outbox.CHANNEL, lambda *_: self._wake.set())
            self._wake.set()  # for what was committed before
            is_standby = False
            while not ended.is_set() and not is_standby:
                try:
                    async with asyncio.timeout(LISTEN_CHECK_SECONDS):
                        await ended.wait()
                except TimeoutError:
                    is_standby = await connection.fetchval(IS_STANDBY)
        finally:
            connection.terminate()

    async def _observe(self) -> None:
        """Set the gauges."""
        pending, oldest = await self._database.run(outbox.backlog)
        metrics.outbox_pending.labels(self._stream.name).set(pending)
        metrics.outbox_oldest_seconds.labels(self._stream.name).set(oldest)
        metrics.stream_entries.labels(self._stream.name).set(await self._stream.length())
        await self._stream.register()

    async def _clean(self) -> None:
        """Drop what is old enough from the outbox and, where every group has it, the stream."""
        before_ms = round((time.time() - self._settings.events_retention_hours * 3600) * 1000)

        async def clean(session: AsyncSession) -> int:
            return await outbox.clean(session, before_ms, CLEAN_BATCH)

        while await self._database.run(clean) == CLEAN_BATCH:
            pass
        await self._stream.trim(before_ms=before_ms)


__all__ = ["Relay"]
