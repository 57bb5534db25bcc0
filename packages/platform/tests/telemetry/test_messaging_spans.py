"""An event is in the trace of what caused it: created, sent, and processed by each consumer."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any
from uuid import UUID

import pytest
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, TraceFlags
from shop.event_tables import Base
from shop.orders import OrderChanged, OrderPaid
from shop.watching import rows, until
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from service_platform.context import RequestContext, current
from service_platform.database import Database
from service_platform.events import (
    Consumer,
    Event,
    EventSettings,
    Handlers,
    Message,
    Relay,
    publish,
)
from service_platform.events import consumer as consumer_module
from service_platform.ids import new_id
from service_platform.settings import PlatformSettings
from service_platform.telemetry.messaging_spans import EventTrace, batch_span, create_span
from service_platform.telemetry.tracing import span
from service_testing.collector import Collector, ReceivedSpan

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN_ID = "00f067aa0ba902b7"
PRODUCER, CONSUMER = 4, 5


def event_trace(flags: str = "01", **changed: Any) -> EventTrace:
    told = {
        "id": "7",
        "type": "order.changed",
        "request_id": None,
        "traceparent": f"00-{TRACE_ID}-{SPAN_ID}-{flags}",
        **changed,
    }
    return EventTrace(**told)


def test_an_event_knows_the_span_that_created_it() -> None:
    created = event_trace(tracestate="a=b").created_in()
    assert created is not None
    assert trace.format_trace_id(created.trace_id) == TRACE_ID
    assert trace.format_span_id(created.span_id) == SPAN_ID
    assert created.trace_state["a"] == "b"


@pytest.mark.parametrize(
    "event",
    [
        event_trace("00"),
        event_trace("02"),
        event_trace(traceparent=None),
        event_trace(traceparent="nonsense"),
        event_trace(traceparent=f"00-{'0' * 32}-{SPAN_ID}-01"),
    ],
)
def test_what_is_not_recorded_is_the_cause_of_no_span(event: EventTrace) -> None:
    assert event.created_in() is None
    with batch_span("send", SpanKind.PRODUCER, "shop", [event, event]):
        assert not trace.get_current_span().get_span_context().is_valid


def test_a_span_tells_which_event_and_which_request_it_is_about() -> None:
    cloudevent = {"id": UUID(int=7), "type": "order.changed", "requestid": "r"}
    assert EventTrace.of_cloudevent(cloudevent).span_attributes() == {
        "messaging.message.id": str(UUID(int=7)),
        "cloudevents.event_id": str(UUID(int=7)),
        "cloudevents.event_type": "order.changed",
        "messaging.message.conversation_id": "r",
    }
    assert "messaging.message.conversation_id" not in event_trace().span_attributes()


def test_nothing_is_created_outside_of_a_recorded_span() -> None:
    with create_span("order.changed"):
        assert not trace.get_current_span().get_span_context().is_valid


@pytest.fixture
async def database(database: Database) -> Database:
    async with database.engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
        await connection.execute(text("CREATE TABLE applied (what text)"))
    return database


@pytest.fixture
def settings(database: Database, monkeypatch: pytest.MonkeyPatch) -> EventSettings:
    monkeypatch.setattr(consumer_module, "RETRY_CHECK_SECONDS", 0.05)
    return EventSettings(
        events_attempts=2, events_retry_seconds=0.01, events_claim_seconds=5, events_poll_seconds=5
    )


Run = Callable[[], AbstractAsyncContextManager[None]]


@asynccontextmanager
async def running(resource: Relay | Consumer) -> AsyncIterator[None]:
    await resource.start()
    try:
        yield
    finally:
        await resource.stop()


@pytest.fixture
def relay(settings: EventSettings, database: Database) -> Run:
    return lambda: running(Relay(settings, database, stream="shop"))


@pytest.fixture
def consumer(settings: EventSettings, database: Database) -> Run:
    """Writes what it applies into a table; fails for orders that are `broken`."""
    handlers = Handlers()

    @handlers.on(OrderChanged)
    async def changed(session: AsyncSession, message: Message[OrderChanged]) -> None:
        await session.execute(
            text("INSERT INTO applied (what) VALUES (:what)"), {"what": message.event.state}
        )
        if message.event.state == "broken":
            raise ValueError("of the handler")

    return lambda: running(
        Consumer(settings, database, stream="shop", group="office", handlers=handlers)
    )


Publish = Callable[..., Awaitable[None]]


@pytest.fixture
def published(database: Database) -> Publish:
    """Publishes an event in a trace of its own."""

    async def do(event: Event) -> None:
        with span("request"):
            async with database.session() as session, session.begin():
                await publish(session, event)

    return do


def state(what: str = "paid") -> OrderChanged:
    return OrderChanged(order_id=new_id(), state=what)


Spans = Callable[[Callable[["Found"], object]], Awaitable["Found"]]


class Found:
    """The spans that have arrived, but for the scheduled work of relay and consumer."""

    def __init__(self, spans: list[ReceivedSpan]) -> None:
        scheduled = {each.trace_id for each in spans if each.name.endswith(":clean_up")}
        self.spans = [each for each in spans if each.trace_id not in scheduled]

    def named(self, name: str, **attributes: object) -> list[ReceivedSpan]:
        return [
            each
            for each in self.spans
            if each.name == name
            and all(
                each.attributes.get(key.replace("__", ".")) == value
                for key, value in attributes.items()
            )
        ]

    def one(self, name: str) -> ReceivedSpan:
        (found,) = self.named(name)
        return found

    def of_trace(self, trace_id: str) -> list[ReceivedSpan]:
        return [each for each in self.spans if each.trace_id == trace_id]

    def below(self, parent: ReceivedSpan) -> list[str]:
        return [each.name for each in self.spans if each.parent_id == parent.span_id]

    def lost(self) -> list[ReceivedSpan]:
        """Spans whose parent is not there."""
        known = {each.span_id for each in self.spans}
        return [each for each in self.spans if each.parent_id and each.parent_id not in known]


@pytest.fixture
def found(exporting: Collector) -> Spans:
    """Waits until the spans that have arrived are as a test wants them."""

    async def wait(condition: Callable[[Found], object]) -> Found:
        def checked(spans: list[ReceivedSpan]) -> Found | None:
            now = Found(spans)
            return now if condition(now) and not now.lost() else None

        result: Found = await asyncio.to_thread(exporting.wait_for, checked)
        return result

    return wait


def link(span: ReceivedSpan) -> tuple[str, str]:
    return (span.trace_id, span.span_id)


async def test_one_event_is_one_trace(
    relay: Run, consumer: Run, published: Publish, found: Spans
) -> None:
    context = RequestContext({}, {}, settings=PlatformSettings())
    async with relay(), consumer():
        reset = current.set(context)
        await published(state())
        current.reset(reset)
        spans = await found(lambda spans: spans.named("process shop"))
    assert {each.trace_id for each in spans.spans} == {spans.one("request").trace_id}
    create, send, process = map(spans.one, ("create order.changed", "send shop", "process shop"))
    assert create.parent_id == spans.one("request").span_id
    assert (send.parent_id, send.links) == (create.span_id, [link(create)])
    assert (process.parent_id, process.links) == (create.span_id, [link(create)])
    assert [each.kind for each in (create, send, process)] == [PRODUCER, PRODUCER, CONSUMER]
    for each, operation in ((create, "create"), (send, "send"), (process, "process")):
        assert each.attributes["messaging.system"] == "redis"
        assert each.attributes["messaging.operation.type"] == operation
        assert each.attributes["cloudevents.event_type"] == "order.changed"
    for each in (send, process):
        assert each.attributes["messaging.destination.name"] == "shop"
        assert each.attributes["messaging.message.conversation_id"] == context.request_id
    assert len({each.attributes["messaging.message.id"] for each in (send, process)}) == 1
    assert "INSERT applied" in spans.below(process)
    assert any("outbox" in name for name in spans.below(send))
    assert any(each.attributes.get("db.system.name") == "redis" for each in spans.spans)
    assert not any(each.is_error for each in spans.spans)


async def test_events_of_several_traces_are_linked_to_the_batch_and_keep_their_traces(
    relay: Run, consumer: Run, published: Publish, database: Database, found: Spans
) -> None:
    for what in ("a", "b"):
        await published(state(what))
    async with database.session() as session, session.begin():
        await publish(session, state("of no trace"))
    async with relay():
        sent = await found(lambda spans: spans.named("send shop"))
    async with consumer():
        spans = await found(lambda spans: len(spans.named("process shop")) == 3)
    creates = sent.named("create order.changed")
    assert len({each.trace_id for each in creates}) == 2
    (batch,) = spans.named("process shop", messaging__batch__message_count=3)
    for each in (sent.one("send shop"), batch):
        assert each.parent_id == ""
        assert sorted(each.links) == sorted(map(link, creates))
        assert each.trace_id not in {create.trace_id for create in creates}
        assert each.attributes["messaging.batch.message_count"] == 3
    for create in creates:
        (process,) = [
            each for each in spans.of_trace(create.trace_id) if each.name == "process shop"
        ]
        assert process.parent_id == create.span_id
        assert process.links == [link(create), link(batch)]
        assert spans.below(process) == ["INSERT applied"]
    # That of the event without a trace is a part of the batch.
    assert spans.below(batch).count("INSERT applied") == 1


async def test_an_event_of_a_trace_that_is_not_recorded_makes_no_span(
    relay: Run, consumer: Run, database: Database, found: Spans
) -> None:
    caller = SpanContext(7, 8, is_remote=True, trace_flags=TraceFlags(0))
    async with relay(), consumer():
        with trace.use_span(NonRecordingSpan(caller)):
            async with database.session() as session, session.begin():
                await publish(session, state())

        async def is_applied() -> bool:
            return bool(await rows(database, "SELECT what FROM applied"))

        await until(is_applied)
    (stored,) = await rows(database, "SELECT event FROM outbox")
    assert stored["traceparent"] == f"00-{7:032x}-{8:016x}-00"
    with span("the end"):
        pass
    spans = await found(lambda spans: spans.named("the end"))
    assert [each.name for each in spans.spans] == ["the end"]


def exceptions(spans: list[ReceivedSpan]) -> list[str]:
    return [each.name for each in spans for name, _ in each.events if name == "exception"]


async def test_a_failure_is_recorded_once_for_each_try(
    relay: Run, consumer: Run, published: Publish, found: Spans
) -> None:
    async with relay(), consumer():
        await published(state("broken"))
        spans = await found(lambda spans: len(spans.named("process shop")) == 2)
    assert exceptions(spans.spans) == ["process shop"] * 2
    for each in spans.named("process shop"):
        assert each.is_error
        assert each.attributes["error.type"] == "ValueError"
        assert each.parent_id == spans.one("create order.changed").span_id


async def test_a_failure_in_a_batch_is_recorded_by_its_event(
    relay: Run, consumer: Run, published: Publish, found: Spans
) -> None:
    await published(state("fine"))
    await published(state("broken"))
    async with relay():
        await found(lambda spans: spans.named("send shop"))
    async with consumer():
        # The batch and what it did, then each alone, and once more what is broken.
        spans = await found(lambda spans: len(spans.named("process shop")) == 6)
    failed = [each for each in spans.named("process shop") if each.is_error]
    (batch,) = [each for each in failed if not each.parent_id]
    assert batch.events == []
    (broken,) = {each.trace_id for each in failed if each is not batch}
    assert len(exceptions(spans.of_trace(broken))) == 3
    assert len(exceptions(spans.spans)) == 3


async def test_an_event_that_nobody_handles_is_in_its_trace(
    relay: Run, consumer: Run, published: Publish, found: Spans
) -> None:
    async with relay(), consumer():
        await published(OrderPaid(order_id=new_id(), amount=1))
        spans = await found(lambda spans: spans.named("process shop"))
    process, create = spans.one("process shop"), spans.one("create order.paid")
    assert (process.parent_id, process.links) == (create.span_id, [link(create)])
    assert process.attributes["messaging.process.outcome"] == "ignored"
