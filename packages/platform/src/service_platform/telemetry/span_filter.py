"""Leaves out the spans of FastAPI's operations that did not wait for anything."""

from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.trace import StatusCode

from service_platform.telemetry.span_export import SpanQueue

OPERATIONS: Final = frozenset({"fastapi.dependencies", "fastapi.endpoint", "fastapi.serialization"})
WAITED_NANOSECONDS: Final = 1_000_000
"""What takes less and calls nothing is in no picture of a request to be seen."""


class WaitingOperations(SpanProcessor):
    """Passes spans on, but for an operation without a child that was done at once.

    Resolving dependencies, calling the endpoint and serializing the response are three spans of
    every request; where they run no statement and call nobody they say nothing. A span that has a
    child is never left out, and what begins after its end (a task that goes on) is a child of its
    parent, so that no span loses its own.

    Args:
        queue: gets the others.

    Attributes:
        queue: the same.
    """

    def __init__(self, queue: SpanQueue) -> None:
        self.queue = queue
        self._parents: set[int] = set()

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Remember whose child a span is."""
        parent = trace.get_current_span(parent_context)
        if isinstance(parent, ReadableSpan) and parent.context and parent.name in OPERATIONS:
            if parent.end_time is None:
                self._parents.add(parent.context.span_id)
            elif _was_done_at_once(parent):  # and so may have been left out
                span._parent = parent.parent  # noqa: SLF001
        self.queue.on_start(span, parent_context)

    def on_end(self, span: ReadableSpan) -> None:
        """Pass a span on, or leave it out."""
        if span.name in OPERATIONS and span.context is not None:
            has_children = span.context.span_id in self._parents
            self._parents.discard(span.context.span_id)
            if not has_children and _was_done_at_once(span):
                return
        self.queue.on_end(span)

    def shutdown(self) -> None:
        """Export what waits, and end."""
        self.queue.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Export what waits."""
        return self.queue.force_flush(timeout_millis)


def _was_done_at_once(span: ReadableSpan) -> bool:
    nanoseconds = (span.end_time or 0) - (span.start_time or 0)
    return nanoseconds < WAITED_NANOSECONDS and span.status.status_code is not StatusCode.ERROR


__all__ = ["WaitingOperations"]
