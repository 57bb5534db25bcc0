"""Relay and consumer of the events of the sample service `shop`."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from redis.asyncio import Redis
from shop.event_tables import Base
from shop.orders import OrderChanged, OrderPaid
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from service_platform.database import Database
from service_platform.events import (
    Consumer,
    EventSettings,
    Handlers,
    Message,
    Relay,
)
from service_platform.events import consumer as consumer_module


@pytest.fixture
async def database(database: Database) -> Database:
    """The shop's database, with the tables of events and one that shows what was applied."""
    async with database.engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
        await connection.execute(
            text(
                "CREATE TABLE applied (n int GENERATED ALWAYS AS IDENTITY, subject text, what text)"
            )
        )
    return database


@pytest.fixture
def settings(service_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> EventSettings:
    """Short waits, so that what they separate can be seen in a test."""
    monkeypatch.setattr(consumer_module, "RETRY_CHECK_SECONDS", 0.05)
    monkeypatch.setattr(consumer_module, "OUTAGE_RETRY_SECONDS", 0.1)
    return EventSettings(
        events_attempts=3,
        events_retry_seconds=0.05,
        events_claim_seconds=0.5,
        events_poll_seconds=0.1,
    )


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Any]:
    async with Redis.from_url(redis_url, protocol=2) as client:
        yield client


class HandlerRecorder:
    """Writes what it applies into a table; `broken` says with what it fails."""

    def __init__(self) -> None:
        self.broken: set[str] = set()
        self.handlers = Handlers()
        self.handlers.on(OrderChanged)(self.changed)
        self.handlers.on(OrderPaid)(self.paid)

    async def changed(self, session: AsyncSession, message: Message[OrderChanged]) -> None:
        await self._apply(session, message.event.subject, message.event.state)

    async def paid(self, session: AsyncSession, message: Message[OrderPaid]) -> None:
        await self._apply(session, message.event.subject, str(message.event.amount))

    async def _apply(self, session: AsyncSession, subject: str, what: str) -> None:
        await session.execute(
            text("INSERT INTO applied (subject, what) VALUES (:subject, :what)"),
            {"subject": subject, "what": what},
        )
        if what in self.broken:
            raise ValueError("a secret value")


@pytest.fixture
def recorder() -> HandlerRecorder:
    return HandlerRecorder()


@asynccontextmanager
async def running(resource: Any) -> AsyncIterator[Any]:
    await resource.start()
    try:
        yield resource
    finally:
        await resource.stop()


Run = Callable[..., AbstractAsyncContextManager[Any]]


@pytest.fixture
def relay(settings: EventSettings, database: Database) -> Run:
    """`async with relay():` runs one; keywords are settings."""
    return lambda **changed: running(
        Relay(settings.model_copy(update=changed), database, stream="shop")
    )


@pytest.fixture
def consumer(settings: EventSettings, database: Database, recorder: HandlerRecorder) -> Run:
    """`async with consumer():` runs one; keywords are settings."""
    return lambda **changed: running(
        Consumer(
            settings.model_copy(update=changed),
            database,
            stream="shop",
            group="office",
            handlers=recorder.handlers,
        )
    )
