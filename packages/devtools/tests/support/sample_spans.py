"""Spans as a receiver has kept them, with times in milliseconds."""

from typing import Any

from devtools.telemetry.spans import Span, SpanEvent

TRACE = "0af7651916cd43dd8448eb211c80319c"
REQUEST = "01990000-aaaa-7bbb-8ccc-dddddddddddd"
BEGAN_NS = 1_790_000_000_000_000_000


def span(id_: str, parent: str = "", *, at: float = 0, took: float = 1, **values: Any) -> Span:
    """A span whose id is `id_`, filled up with zeros."""
    start = BEGAN_NS + int(at * 1e6)
    defaults: dict[str, Any] = {
        "trace_id": TRACE, "service": "auth", "name": f"work {id_}", "kind": "internal",
    }  # fmt: skip
    return Span(
        span_id=id_.ljust(16, "0"),
        parent_span_id=parent and parent.ljust(16, "0"),
        start_ns=start,
        end_ns=start + int(took * 1e6),
        **{**defaults, **values},
    )


def exception(kind: str, message: str) -> SpanEvent:
    """The event of an exception."""
    return SpanEvent("exception", BEGAN_NS, {"exception.type": kind, "exception.message": message})
