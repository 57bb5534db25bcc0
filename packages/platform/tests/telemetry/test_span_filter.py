"""Operations that waited for nothing are left out, and no span loses its parent."""

from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode, Tracer

from service_platform.telemetry.span_export import SpanQueue
from service_platform.telemetry.span_filter import WAITED_NANOSECONDS, WaitingOperations

Kept = Callable[[], list[ReadableSpan]]


@pytest.fixture
def pipeline() -> Any:
    """A tracer whose spans go through the filter, and what came out of it."""
    exporter = InMemorySpanExporter()
    operations = WaitingOperations(SpanQueue(exporter, 100))
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(operations)

    def kept() -> list[ReadableSpan]:
        assert operations.force_flush()
        assert operations._parents == set()
        return list(exporter.get_finished_spans())

    yield provider.get_tracer("test"), kept
    provider.shutdown()


def operation(tracer: Tracer, nanoseconds: int, name: str = "fastapi.endpoint") -> None:
    """An operation that took this long, by its own times."""
    tracer.start_span(name, start_time=1_000).end(1_000 + nanoseconds)


@pytest.mark.parametrize(
    "name", ["fastapi.dependencies", "fastapi.endpoint", "fastapi.serialization"]
)
def test_an_operation_that_was_done_at_once_is_left_out(
    pipeline: tuple[Tracer, Kept], name: str
) -> None:
    tracer, kept = pipeline
    operation(tracer, WAITED_NANOSECONDS - 1, name)
    assert kept() == []


def test_one_that_took_its_time_is_kept(pipeline: tuple[Tracer, Kept]) -> None:
    tracer, kept = pipeline
    operation(tracer, WAITED_NANOSECONDS)
    assert [each.name for each in kept()] == ["fastapi.endpoint"]


def test_one_that_failed_is_kept(pipeline: tuple[Tracer, Kept]) -> None:
    tracer, kept = pipeline
    failed = tracer.start_span("fastapi.endpoint", start_time=1)
    failed.set_status(StatusCode.ERROR)
    failed.end(2)
    assert [each.name for each in kept()] == ["fastapi.endpoint"]


def test_other_spans_are_kept_however_short(pipeline: tuple[Tracer, Kept]) -> None:
    tracer, kept = pipeline
    operation(tracer, 1, "fastapi.background_task")
    operation(tracer, 1, "SELECT items")
    assert [each.name for each in kept()] == ["fastapi.background_task", "SELECT items"]


def test_one_with_a_child_is_kept(pipeline: tuple[Tracer, Kept]) -> None:
    tracer, kept = pipeline
    around = tracer.start_span("fastapi.endpoint", start_time=1)
    context = trace.set_span_in_context(around)
    tracer.start_span("SELECT items", context=context, start_time=1).end(2)
    around.end(3)
    statement, endpoint = kept()
    assert statement.parent == endpoint.context


def test_what_begins_after_an_operation_that_was_left_out_is_a_child_of_its_parent(
    pipeline: tuple[Tracer, Kept],
) -> None:
    tracer, kept = pipeline
    request = tracer.start_span("GET /items", start_time=1)
    of_request = trace.set_span_in_context(request)
    endpoint = tracer.start_span("fastapi.endpoint", context=of_request, start_time=1)
    of_endpoint = trace.set_span_in_context(endpoint)
    endpoint.end(2)
    request.end(3)
    later = tracer.start_span("task", context=of_endpoint, start_time=4)
    tracer.start_span("in it", context=trace.set_span_in_context(later), start_time=4).end(5)
    later.end(6)
    spans = {each.name: each for each in kept()}
    assert spans.keys() == {"GET /items", "task", "in it"}
    assert spans["task"].parent == spans["GET /items"].context
    assert spans["in it"].parent == spans["task"].context


def test_what_begins_after_an_operation_that_was_kept_is_its_child(
    pipeline: tuple[Tracer, Kept],
) -> None:
    tracer, kept = pipeline
    endpoint = tracer.start_span("fastapi.endpoint", start_time=1)
    context = trace.set_span_in_context(endpoint)
    endpoint.end(1 + WAITED_NANOSECONDS)
    tracer.start_span("task", context=context).end()
    kept_endpoint, task = kept()
    assert task.parent == kept_endpoint.context


def test_what_waits_is_exported_at_the_end() -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(WaitingOperations(SpanQueue(exporter, 10)))
    exported: list[str] = []

    def export(spans: Any) -> SpanExportResult:
        exported.extend(each.name for each in spans)
        return SpanExportResult.SUCCESS

    exporter.export = export  # type: ignore[method-assign]
    provider.get_tracer("test").start_span("last").end()
    provider.shutdown()
    assert exported == ["last"]
