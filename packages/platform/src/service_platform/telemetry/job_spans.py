"""Makes the spans of jobs: where one is enqueued, and each attempt to run it.

An attempt continues the trace of the request that enqueued the job, where that is recorded. Work of
a schedule is a trace of its own.

Source: OpenTelemetry semantic conventions, "Messaging spans".
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from opentelemetry.context import Context
from opentelemetry.trace import Link, SpanKind

from service_platform.telemetry.messaging_spans import remote_span, within
from service_platform.telemetry.tracing import is_recording, span

SYSTEM: Final = "postgresql"


@contextmanager
def enqueue_span(name: str) -> Iterator[None]:
    """Run the enqueuing of a job in a span, where the request is recorded."""
    if not is_recording():
        yield
        return
    with span(f"enqueue {name}", SpanKind.PRODUCER, _attributes("create", name)):
        yield


@contextmanager
def job_span(
    name: str, job_id: str, *, attempt: int, traceparent: str | None, tracestate: str | None
) -> Iterator[None]:
    """Run an attempt in a span of the trace in which the job was enqueued.

    Args:
        name: of the job.
        job_id: of the job.
        attempt: which.
        traceparent: of the span that enqueued it; `None` for the work of a schedule.
        tracestate: of the same.
    """
    attributes = {
        **_attributes("process", name),
        "messaging.message.id": job_id,
        "messaging.message.delivery_attempt": attempt,
    }
    if traceparent is None:
        with span(f"run {name}", SpanKind.CONSUMER, attributes, context=Context()):
            yield
        return
    created = remote_span(traceparent, tracestate)
    if created is None:
        yield
        return
    with span(
        f"run {name}",
        SpanKind.CONSUMER,
        attributes,
        context=within(created),
        links=[Link(created)],
    ):
        yield


def _attributes(operation: str, name: str) -> dict[str, str | int]:
    return {
        "messaging.system": SYSTEM,
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.name": name,
    }


__all__ = ["enqueue_span", "job_span"]
