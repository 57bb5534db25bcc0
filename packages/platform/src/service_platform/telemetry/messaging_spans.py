"""Makes the spans of events on their way: create, send, process.

The span in which an event is created is in the event (`traceparent`). It is the parent of the spans
of relay and consumers, so that one trace has a request and all its effects; and they are linked to
it, because work on several events at once belongs to several traces and can have no parent.

Source: OpenTelemetry semantic conventions, "Messaging spans".
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanContext, SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from service_platform.telemetry.tracing import is_recording, span

SYSTEM: Final = "redis"
_w3c: Final = TraceContextTextMapPropagator()


@dataclass(frozen=True, slots=True)
class EventTrace:
    """What spans tell of an event.

    Attributes:
        id: of the event.
        type: of the event.
        request_id: of the request that caused it.
        traceparent: of the span that created it.
        tracestate: of the same.
    """

    id: str
    type: str
    request_id: str | None
    traceparent: str | None
    tracestate: str | None = None

    @classmethod
    def of_cloudevent(cls, attributes: Mapping[str, Any]) -> "EventTrace":
        """Take it from the attributes of a CloudEvent."""
        return cls(
            id=str(attributes["id"]),
            type=attributes["type"],
            request_id=attributes.get("requestid"),
            traceparent=attributes.get("traceparent"),
            tracestate=attributes.get("tracestate"),
        )

    def created_in(self) -> SpanContext | None:
        """Return the span that created the event, where it is recorded."""
        if self.traceparent is None:
            return None
        return remote_span(self.traceparent, self.tracestate)

    def span_attributes(self) -> dict[str, str]:
        """Return the attributes of a span about this event."""
        attributes = {
            "messaging.message.id": self.id,
            "cloudevents.event_id": self.id,
            "cloudevents.event_type": self.type,
        }
        if self.request_id is not None:
            attributes["messaging.message.conversation_id"] = self.request_id
        return attributes


@contextmanager
def create_span(event_type: str) -> Iterator[None]:
    """Run the creation of an event in a span, where the request is recorded."""
    if not is_recording():
        yield
        return
    attributes = {**_operation("create"), "cloudevents.event_type": event_type}
    with span(f"create {event_type}", SpanKind.PRODUCER, attributes):
        yield


@contextmanager
def batch_span(
    operation: str, kind: SpanKind, stream: str, events: Sequence[EventTrace]
) -> Iterator[None]:
    """Run the work on some events in a span, where one of them belongs to a recorded trace.

    The span of a single event is the child of the one that created it. That of several begins a
    trace of its own. Both are linked to what created the events.

    Args:
        operation: `send` or `process`.
        kind: of the span.
        stream: where the events are.
        events: some.
    """
    created = [found for each in events if (found := each.created_in()) is not None]
    if not created:
        yield
        return
    attributes: dict[str, Any] = {**_operation(operation), "messaging.destination.name": stream}
    context = Context()
    if len(events) == 1:
        attributes |= events[0].span_attributes()
        context = within(created[0])
    else:
        attributes["messaging.batch.message_count"] = len(events)
    links = [Link(each) for each in created]
    with span(f"{operation} {stream}", kind, attributes, context=context, links=links):
        yield


@contextmanager
def event_span(operation: str, kind: SpanKind, stream: str, event: EventTrace) -> Iterator[Span]:
    """Run the work on one event in a span of the event's trace, where that is recorded.

    It is linked to the current span, that of the work on several events.
    """
    created = event.created_in()
    if created is None:
        yield trace.INVALID_SPAN
        return
    batch = trace.get_current_span().get_span_context()
    links = [Link(created), *([Link(batch)] if batch.is_valid else [])]
    attributes = {
        **_operation(operation),
        "messaging.destination.name": stream,
        **event.span_attributes(),
    }
    parent = within(created)
    with span(f"{operation} {stream}", kind, attributes, context=parent, links=links) as started:
        yield started


def _operation(name: str) -> dict[str, str]:
    return {
        "messaging.system": SYSTEM,
        "messaging.operation.name": name,
        "messaging.operation.type": name,
    }


def remote_span(traceparent: str, tracestate: str | None) -> SpanContext | None:
    """Return the span that these attributes name, where it is recorded."""
    headers = {"traceparent": traceparent}
    if tracestate:
        headers["tracestate"] = tracestate
    context = _w3c.extract(headers, Context())
    found = trace.get_current_span(context).get_span_context()
    return found if found.is_valid and found.trace_flags.sampled else None


def within(parent: SpanContext) -> Context:
    """Return the context of a span's children that are made elsewhere."""
    return trace.set_span_in_context(trace.NonRecordingSpan(parent), Context())


__all__ = ["EventTrace", "batch_span", "create_span", "event_span", "remote_span", "within"]
