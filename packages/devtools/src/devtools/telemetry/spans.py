"""A span and a trace, as the receiver keeps them and `./dev trace` shows them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

ERROR: Final = "error"
SERVER: Final = "server"


@dataclass(frozen=True, slots=True)
class SpanEvent:
    """Something that happened at one moment of a span, such as an exception."""

    name: str
    time_ns: int
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SpanLink:
    """Another span that caused this one without being its parent."""

    trace_id: str
    span_id: str
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Span:
    """One span. Ids are lower-case hexadecimal digits, times are nanoseconds since the epoch.

    Attributes:
        trace_id: 32 digits.
        span_id: 16 digits.
        parent_span_id: 16 digits; empty for a root.
        service: `service.name` of what sent it.
        name: what was done, such as `GET /api/v1/users/me`.
        kind: internal, server, client, producer or consumer.
        start_ns: its begin.
        end_ns: its end.
        status: unset, ok or error.
        status_message: what went wrong, in words.
        parent_is_remote: whether the parent is a span of another process; None where nobody said.
        attributes: by name; JSON values.
        events: in the order in which they were recorded.
        links: to spans of this or of other traces.
        request_id: of the request it belongs to, where the span itself says so.
    """

    trace_id: str
    span_id: str
    parent_span_id: str
    service: str
    name: str
    kind: str
    start_ns: int
    end_ns: int
    status: str = "unset"
    status_message: str = ""
    parent_is_remote: bool | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    events: Sequence[SpanEvent] = ()
    links: Sequence[SpanLink] = ()
    request_id: str = ""

    @property
    def duration_ns(self) -> int:
        """How long it took; never negative, even if a clock was set back meanwhile."""
        return max(self.end_ns - self.start_ns, 0)

    @property
    def failed(self) -> bool:
        """Whether its status is error."""
        return self.status == ERROR


@dataclass(frozen=True, slots=True)
class Trace:
    """The received spans of one trace, at least one, in the order of their start."""

    trace_id: str
    spans: tuple[Span, ...]

    @classmethod
    def of(cls, spans: Iterable[Span]) -> Self:
        """Make a trace of its spans, which may come in any order."""
        ordered = tuple(sorted(spans, key=lambda span: (span.start_ns, -span.end_ns, span.span_id)))
        return cls(ordered[0].trace_id, ordered)

    @property
    def root(self) -> Span:
        """The span that stands for the trace: without a parent, else the first to start."""
        return next((span for span in self.spans if not span.parent_span_id), self.spans[0])

    @property
    def start_ns(self) -> int:
        """When its first span started."""
        return self.spans[0].start_ns

    @property
    def duration_ns(self) -> int:
        """From the start of its first span to the end of its last one, in whichever service."""
        return max(max(span.end_ns for span in self.spans) - self.start_ns, 0)

    @property
    def services(self) -> list[str]:
        """Names of the services that took part: the root's, then others as their spans began."""
        return list(dict.fromkeys(span.service for span in (self.root, *self.spans)))

    @property
    def request_ids(self) -> list[str]:
        """Ids of its requests, in the order in which they came; most traces have one."""
        return list(dict.fromkeys(span.request_id for span in self.spans if span.request_id))

    @property
    def errors(self) -> int:
        """How many spans failed."""
        return sum(span.failed for span in self.spans)
