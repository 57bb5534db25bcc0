"""Event: the base class of what services publish. Message: an event as a handler receives it.

`cloudevents.py` has the form in which events travel.
"""

from abc import abstractmethod
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Final, Generic, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from service_platform.telemetry.messaging_spans import EventTrace

_SCHEMA: Final = "urn:events:{type}:{version}"


class Event(BaseModel):
    """Something that happened, as other services may know it; subclass it for each event type.

    Fields may be added to a published event, with a default; consumers ignore those they do not
    know. Any other change needs a new `version`, which consumers must handle before it is
    published.

    Attributes:
        type: what happened, such as `account.closed`.
        version: of the fields.
        carries_state: the event has its subject's whole state, so that an older one must not be
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
        """Return the URN of the event type and its version (CloudEvents, `dataschema`)."""
        return _SCHEMA.format(type=cls.type, version=cls.version)


E_co = TypeVar("E_co", bound=Event, covariant=True)


@dataclass(frozen=True, slots=True)
class Message(Generic[E_co]):
    """An event as a handler receives it.

    Attributes:
        id: of the event; the same when it is delivered again.
        source: the service that published it.
        sequence: its place among the events of the source: of two events of one subject the later
            one has the greater number.
        time: when it was published.
        request_id: of the request that caused it.
        traceparent: the span in which it was published (W3C Trace Context).
        tracestate: of the same.
        event: what happened.
    """

    id: UUID
    source: str
    sequence: int
    time: datetime
    request_id: str | None
    traceparent: str | None
    event: E_co
    tracestate: str | None = None

    def trace(self) -> EventTrace:
        """Return what spans tell of it."""
        return EventTrace(
            id=str(self.id),
            type=self.event.type,
            request_id=self.request_id,
            traceparent=self.traceparent,
            tracestate=self.tracestate,
        )

    @property
    def trace_id(self) -> str | None:
        """The trace of the request that caused it."""
        return None if self.traceparent is None else self.traceparent.split("-")[1]


__all__ = ["Event", "Message"]
