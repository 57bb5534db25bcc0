"""Events and the form in which they travel: CloudEvents 1.0, JSON format.

A service defines an event as a model; `publish` (see `outbox.py`) makes a CloudEvent of it, and a
consumer gets it back as a `Message` (see `handlers.py`).
"""

from abc import abstractmethod
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar, Final, Generic, Literal, TypeVar
from uuid import UUID

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from service_platform.context import current_context
from service_platform.ids import new_id

SPECVERSION: Final = "1.0"
_SCHEMA: Final = "urn:events:{type}:{version}"


class Event(BaseModel):
    """Something that happened, as other services may know it; subclass it for each kind.

    Fields may be added to a published event, with a default; receivers ignore those they do not
    know. Any other change needs a new `version`, which receivers must know before it is published.

    Attributes:
        type: what happened, such as `account.closed`.
        version: of the fields.
        carries_state: the event tells its subject's whole state, so that an older one must not be
            applied after a newer one. False where each event must be applied for itself.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    type: ClassVar[str]
    version: ClassVar[int] = 1
    carries_state: ClassVar[bool] = True

    @property
    @abstractmethod
    def subject(self) -> str:
        """Id of the thing it happened to; events of one subject stay in their order."""

    @classmethod
    def dataschema(cls) -> str:
        """Names the form of the data (CloudEvents, `dataschema`)."""
        return _SCHEMA.format(type=cls.type, version=cls.version)


E_co = TypeVar("E_co", bound=Event, covariant=True)


@dataclass(frozen=True, slots=True)
class Message(Generic[E_co]):
    """An event as a consumer gets it.

    Attributes:
        id: of the event; the same when it is delivered again.
        source: the service it comes from.
        sequence: its place among the events of the source: of two events of one subject the later
            one has the greater number.
        time: when it was published.
        request_id: of the request that caused it.
        traceparent: trace of that request (W3C Trace Context).
        event: what happened.
    """

    id: UUID
    source: str
    sequence: int
    time: datetime
    request_id: str | None
    traceparent: str | None
    event: E_co

    @property
    def trace_id(self) -> str | None:
        """The trace it belongs to."""
        return None if self.traceparent is None else self.traceparent.split("-")[1]


class Envelope(BaseModel):
    """The attributes of a CloudEvent that consumers rely on; its data is not looked at yet."""

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
    data: dict[str, Any]


class UnreadableEventError(Exception):
    """What came is no event this release understands; the text says why, without its data."""


def attributes_of(event: Event) -> dict[str, Any]:
    """A new CloudEvent, without the `source` and `sequence` the relay adds.

    `requestid` and `traceparent` come from the request in flight.
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
        attributes["traceparent"] = context.traceparent
    attributes["data"] = event.model_dump(mode="json")
    return attributes


def encode(attributes: dict[str, Any], *, source: str, sequence: int) -> bytes:
    """The CloudEvent as it is put into a stream (JSON Event Format for CloudEvents, section 3).

    `sequence` follows CloudEvents' extension of that name: text whose order is the events' order.
    """
    return orjson.dumps({**attributes, "source": source, "sequence": f"{sequence:020d}"})


def decode_envelope(content: bytes) -> Envelope:
    """Read the attributes of a CloudEvent.

    Raises:
        UnreadableEventError: when it is none.
    """
    try:
        return Envelope.model_validate_json(content)
    except ValidationError as error:
        raise UnreadableEventError(f"not a CloudEvent: {_places(error)}") from None


E = TypeVar("E", bound=Event)


def message_of(envelope: Envelope, kind: type[E]) -> Message[E]:
    """Read the data of a CloudEvent.

    Raises:
        UnreadableEventError: when it has not the form of `kind`.
    """
    if envelope.dataschema != kind.dataschema():
        raise UnreadableEventError(f"{envelope.dataschema} is not known, {kind.dataschema()} is")
    try:
        event = kind.model_validate(envelope.data)
    except ValidationError as error:
        raise UnreadableEventError(f"{envelope.dataschema}: {_places(error)}") from None
    return Message(
        id=envelope.id,
        source=envelope.source,
        sequence=envelope.sequence,
        time=envelope.time,
        request_id=envelope.requestid,
        traceparent=envelope.traceparent,
        event=event,
    )


def _places(error: ValidationError) -> str:
    """Where it is wrong and why, never the values."""
    mistakes = error.errors(include_url=False, include_input=False, include_context=False)
    return "; ".join(
        f"{'.'.join(map(str, each['loc'])) or '$'}: {each['type']}" for each in mistakes
    )


__all__ = [
    "Envelope",
    "Event",
    "Message",
    "UnreadableEventError",
    "attributes_of",
    "decode_envelope",
    "encode",
    "message_of",
]
