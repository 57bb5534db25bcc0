"""Spans of FastAPI's operations, made only where the operation waited for something.

Resolving dependencies, calling the endpoint and serializing the response would be three spans of
every request. Where they run no statement, call nobody and are done at once, they say nothing and
would cost more than the operation. So such a span is made when somebody asks for it: a span inside
of it, a log line, an error, or its end after more than a millisecond.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanContext, Status, StatusCode, Tracer, TracerProvider
from opentelemetry.util.types import AnyValue, Attributes

WAITED_NANOSECONDS: Final = 1_000_000
"""What takes less and calls nothing is in no picture of a request to be seen."""

OPERATIONS: Final = frozenset({"fastapi.dependencies", "fastapi.endpoint", "fastapi.serialization"})


class OperationSpan(Span):
    """A span that is made when somebody asks for it.

    Args:
        tracer: makes it.
        name: of the operation.
        attributes: to begin with.
        parent: the context in which the operation began.

    Attributes:
        end_time: nanoseconds since the epoch, `None` as long as it goes on.
    """

    def __init__(self, tracer: Tracer, name: str, attributes: Attributes, parent: Context) -> None:
        self._tracer = tracer
        self._name = name
        self._attributes = attributes
        self._parent = parent
        self._started = time.time_ns()
        self._is_recorded = trace.get_current_span(parent).is_recording()
        self._span: Span | None = None
        self.end_time: int | None = None

    @property
    def _made(self) -> Span:
        """The real span; the one outside of it once the operation has ended without."""
        if self._span is None:
            if self.end_time is not None:  # a task that goes on after the operation
                return trace.get_current_span(self._parent)
            self._span = self._tracer.start_span(
                self._name,
                context=self._parent,
                attributes=self._attributes,
                start_time=self._started,
            )
        return self._span

    def get_span_context(self) -> SpanContext:
        """Return the ids of the span, which is made for it."""
        return self._made.get_span_context()

    def is_recording(self) -> bool:
        """Return whether the operation goes on, in a request that is recorded."""
        return self._is_recorded and self.end_time is None

    def set_attributes(self, attributes: Mapping[str, AnyValue]) -> None:
        """Set attributes."""
        self._made.set_attributes(attributes)

    def set_attribute(self, key: str, value: AnyValue) -> None:
        """Set an attribute."""
        self._made.set_attribute(key, value)

    def add_event(
        self, name: str, attributes: Attributes = None, timestamp: int | None = None
    ) -> None:
        """Add an event."""
        self._made.add_event(name, attributes, timestamp)

    def add_link(self, context: SpanContext, attributes: Attributes = None) -> None:
        """Add a link."""
        self._made.add_link(context, attributes)

    def update_name(self, name: str) -> None:
        """Change the name."""
        self._made.update_name(name)

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Set the status."""
        self._made.set_status(status, description)

    def record_exception(
        self,
        exception: BaseException,
        attributes: Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        """Record an exception."""
        self._made.record_exception(exception, attributes, timestamp, escaped)

    def end(self, end_time: int | None = None) -> None:
        """End the operation."""
        ended = end_time or time.time_ns()
        if self._span is not None or ended - self._started >= WAITED_NANOSECONDS:
            self._made.end(ended)
        self.end_time = ended


class OperationTracer(Tracer):
    """FastAPI's tracer: makes every span but those of operations at once.

    Args:
        tracer: makes them.
    """

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def start_span(self, name: str, *args: Any, **options: Any) -> Span:
        """Start a span, such as that of a request."""
        return self._tracer.start_span(name, *args, **options)

    @contextmanager
    def _start_as_current_span(self, name: str, **options: Any) -> Iterator[Span]:
        if name not in OPERATIONS:
            with self._tracer.start_as_current_span(name, **options) as span:
                yield span
            return
        parent = otel_context.get_current()
        operation = OperationSpan(self._tracer, name, options.get("attributes"), parent)
        token = otel_context.attach(trace.set_span_in_context(operation, parent))
        try:
            yield operation
        finally:
            otel_context.detach(token)
            operation.end()

    def start_as_current_span(self, name: str, *_: Any, **options: Any) -> Any:
        """Start a span and make it the current one, as a context manager.

        FastAPI tells of an error by the span's status.
        """
        return self._start_as_current_span(name, **options)


class OperationTracerProvider(TracerProvider):
    """The tracer provider for FastAPI's telemetry: the installed one, but for operations."""

    def get_tracer(self, *args: Any, **options: Any) -> Tracer:
        """Return a tracer of the installed provider."""
        return OperationTracer(trace.get_tracer(*args, **options))


__all__ = ["OperationSpan", "OperationTracerProvider"]
