"""CloudEvents 1.0 in JSON: encodes events for a stream and decodes what a consumer reads there."""

from datetime import UTC, datetime
from typing import Any, Final, Literal, TypeVar
from uuid import UUID

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from service_platform.context import current_context
from service_platform.events.event import Event, Message
from service_platform.ids import new_id
from service_platform.telemetry.messaging_spans import EventTrace
from service_platform.telemetry.propagation import trace_attributes

SPECVERSION: Final = "1.0"


class CloudEvent(BaseModel):
    """A CloudEvent as a consumer reads it; its data is not validated yet."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    specversion: Literal["1.0"]
    id: UUID
    source: str
    type: str
    subject: str
    time: datetime
    dataschema: str
    sequence: int
    requestid: str | None = None
    traceparent: str | None = None
    tracestate: str | None = None
    data: dict[str, Any]

    def trace(self) -> EventTrace:
        """Return what spans tell of it."""
        return EventTrace(
            id=str(self.id),
            type=self.type,
            request_id=self.requestid,
            traceparent=self.traceparent,
            tracestate=self.tracestate,
        )


class EventDecodeError(Exception):
    """The content of a stream entry is no event this release can decode.

    The message says why, without the event's data.
    """


def new_cloudevent(event: Event) -> dict[str, Any]:
    """Make the attributes of a new CloudEvent, all but `source` and `sequence`.

    The relay adds those. `requestid` comes from the current request, `traceparent` from the span
    in which the event is made.
    """
    attributes: dict[str, Any] = {
        "specversion": SPECVERSION,
        "id": str(new_id()),
        "type": event.type,
        "subject": event.subject,
        "time": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "dataschema": event.dataschema(),
    }
    context = current_context()
    if context is not None:
        attributes["requestid"] = context.request_id
    attributes |= trace_attributes(context)
    attributes["data"] = event.model_dump(mode="json")
    return attributes


def encode_cloudevent(attributes: dict[str, Any], *, source: str, sequence: int) -> bytes:
    """Encode a CloudEvent for the stream (JSON Event Format for CloudEvents, section 3).

    Args:
        attributes: made by `new_cloudevent`.
        source: the service that publishes it.
        sequence: its number. It is written as CloudEvents' extension of that name wants: text
            whose order is the events' order.
    """
    return orjson.dumps({**attributes, "source": source, "sequence": f"{sequence:020d}"})


def decode_cloudevent(content: bytes) -> CloudEvent:
    """Decode the attributes of a CloudEvent.

    Raises:
        EventDecodeError: the content is no CloudEvent.
    """
    try:
        return CloudEvent.model_validate_json(content)
    except ValidationError as error:
        raise EventDecodeError(f"not a CloudEvent: {_describe(error)}") from None


E = TypeVar("E", bound=Event)


def decode_message(cloudevent: CloudEvent, event_type: type[E]) -> Message[E]:
    """Decode the data of a CloudEvent and make the message for a handler.

    Raises:
        EventDecodeError: the data is not of this event type and version.
    """
    if cloudevent.dataschema != event_type.dataschema():
        raise EventDecodeError(
            f"{cloudevent.dataschema} is not known, {event_type.dataschema()} is"
        )
    try:
        event = event_type.model_validate(cloudevent.data)
    except ValidationError as error:
        raise EventDecodeError(f"{cloudevent.dataschema}: {_describe(error)}") from None
    return Message(
        id=cloudevent.id,
        source=cloudevent.source,
        sequence=cloudevent.sequence,
        time=cloudevent.time,
        request_id=cloudevent.requestid,
        traceparent=cloudevent.traceparent,
        tracestate=cloudevent.tracestate,
        event=event,
    )


def _describe(error: ValidationError) -> str:
    """Say which fields are wrong and why, never their values."""
    mistakes = error.errors(include_url=False, include_input=False, include_context=False)
    return "; ".join(
        f"{'.'.join(map(str, each['loc'])) or '$'}: {each['type']}" for each in mistakes
    )


__all__ = [
    "CloudEvent",
    "EventDecodeError",
    "decode_cloudevent",
    "decode_message",
    "encode_cloudevent",
    "new_cloudevent",
]
