"""Operations that waited for nothing make no span, and no span loses its parent."""

import time
from collections.abc import Callable, Iterator

import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode, Tracer

from service_platform.telemetry import operation_spans
from service_platform.telemetry.operation_spans import OperationTracer

Spans = Callable[[], dict[str, ReadableSpan]]


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracer(exporter: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tracer]:
    """FastAPI's tracer; nothing here takes a minute, however busy the machine is."""
    monkeypatch.setattr(operation_spans, "WAITED_NANOSECONDS", 60_000_000_000)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield OperationTracer(provider.get_tracer("test"))
    provider.shutdown()


@pytest.fixture
def spans(exporter: InMemorySpanExporter) -> Spans:
    return lambda: {span.name: span for span in exporter.get_finished_spans()}


@pytest.mark.parametrize(
    "name", ["fastapi.dependencies", "fastapi.endpoint", "fastapi.serialization"]
)
def test_an_operation_that_is_done_at_once_makes_no_span(
    tracer: Tracer, spans: Spans, name: str
) -> None:
    with tracer.start_as_current_span("GET"):
        with tracer.start_as_current_span(name) as operation:
            assert operation.is_recording()
        assert not operation.is_recording()
    assert spans().keys() == {"GET"}


def test_one_of_a_request_that_is_not_recorded_is_not_either(tracer: Tracer) -> None:
    with tracer.start_as_current_span("fastapi.endpoint") as operation:
        assert not operation.is_recording()


def test_one_that_takes_its_time_is_a_span_from_its_begin_to_its_end(
    tracer: Tracer, spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operation_spans, "WAITED_NANOSECONDS", 0)
    began = time.time_ns()
    attributes = {"code.function.name": "shop.list"}
    with tracer.start_as_current_span("fastapi.endpoint", attributes=attributes):
        inside = time.time_ns()
    span = spans()["fastapi.endpoint"]
    assert span.start_time is not None
    assert span.end_time is not None
    assert began <= span.start_time <= inside <= span.end_time
    assert span.attributes == attributes


def test_one_that_fails_is_a_span_with_its_error(tracer: Tracer, spans: Spans) -> None:
    with tracer.start_as_current_span("fastapi.endpoint") as operation:
        operation.set_attribute("error.type", "ValueError")
        operation.set_status(StatusCode.ERROR)
    span = spans()["fastapi.endpoint"]
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes == {"error.type": "ValueError"}


def test_one_with_a_span_inside_is_its_parent(tracer: Tracer, spans: Spans) -> None:
    with (
        tracer.start_as_current_span("GET /items"),
        tracer.start_as_current_span("fastapi.endpoint"),
        tracer.start_as_current_span("SELECT items"),
    ):
        pass
    made = spans()
    assert made["SELECT items"].parent == made["fastapi.endpoint"].context
    assert made["fastapi.endpoint"].parent == made["GET /items"].context


def test_one_whose_ids_are_asked_for_exists(tracer: Tracer, spans: Spans) -> None:
    with tracer.start_as_current_span("fastapi.endpoint"):
        logged = trace.get_current_span().get_span_context()
    assert spans()["fastapi.endpoint"].context == logged


def test_what_is_told_to_the_current_span_is_kept(tracer: Tracer, spans: Spans) -> None:
    with tracer.start_as_current_span("fastapi.endpoint"):
        current = trace.get_current_span()
        current.set_attributes({"a": 1})
        current.add_event("happened", {"b": 2})
        current.update_name("renamed")
        current.record_exception(ValueError("no"))
    span = spans()["renamed"]
    assert span.attributes == {"a": 1}
    assert [event.name for event in span.events] == ["happened", "exception"]


def test_other_spans_are_made_however_short(tracer: Tracer, spans: Spans) -> None:
    with tracer.start_as_current_span("fastapi.background_task"):
        pass
    tracer.start_span("GET").end()
    assert spans().keys() == {"fastapi.background_task", "GET"}


def test_a_task_that_goes_on_after_an_operation_belongs_to_what_was_around_it(
    tracer: Tracer, spans: Spans
) -> None:
    with tracer.start_as_current_span("GET /items"):
        with tracer.start_as_current_span("fastapi.endpoint") as operation:
            context = trace.set_span_in_context(operation, Context())
        tracer.start_span("task", context=context).end()
    made = spans()
    assert made.keys() == {"GET /items", "task"}
    assert made["task"].parent == made["GET /items"].context
