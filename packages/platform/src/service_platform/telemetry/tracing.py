"""The tracer of the platform's spans, and what spans have in common.

Spans are made only inside of one that is recorded. So a request that is not sampled costs no more
than a look, and polling in the background makes no traces of its own.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, StatusCode
from opentelemetry.util.types import AttributeValue

from service_platform.telemetry.exceptions import record_exception

tracer: Final = trace.get_tracer("service_platform")

Attributes = Mapping[str, AttributeValue]


def is_recording() -> bool:
    """Return whether this code runs in a span that is recorded."""
    return trace.get_current_span().is_recording()


@contextmanager
def span(
    name: str,
    kind: SpanKind = SpanKind.INTERNAL,
    attributes: Attributes | None = None,
    *,
    context: Context | None = None,
    links: list[Link] | None = None,
) -> Iterator[Span]:
    """Run code in a span of its own, which has the exception the code ends with.

    Args:
        name: of low cardinality.
        kind: see `SpanKind`.
        attributes: by OpenTelemetry's semantic conventions.
        context: has the parent; the current one where omitted.
        links: spans of other traces that caused this one.
    """
    with tracer.start_as_current_span(
        name,
        context=context,
        kind=kind,
        attributes=attributes,
        links=links,
        record_exception=False,
        set_status_on_exception=False,
    ) as started:
        try:
            yield started
        except Exception as error:
            record_exception(started, error)
            raise


@contextmanager
def client_span(name: str, attributes: Attributes) -> Iterator[Span]:
    """Run a call to another server in a span of kind CLIENT.

    Its failure is told by `error.type`. The exception itself is recorded once, by the span in which
    nobody handles it.
    """
    with tracer.start_as_current_span(
        name,
        kind=SpanKind.CLIENT,
        attributes=attributes,
        record_exception=False,
        set_status_on_exception=False,
    ) as started:
        try:
            yield started
        except BaseException as error:
            set_failed(started, error)
            raise


def set_failed(failed: Span, error: BaseException | str) -> None:
    """Give a span the status of an error and its kind; never its message, which may have values."""
    failed.set_attribute("error.type", error if isinstance(error, str) else type(error).__name__)
    failed.set_status(StatusCode.ERROR)


__all__ = ["Attributes", "client_span", "is_recording", "set_failed", "span", "tracer"]
