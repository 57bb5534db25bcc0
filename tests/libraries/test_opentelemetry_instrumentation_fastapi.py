"""opentelemetry-instrumentation-fastapi with the SDK, spans kept in memory."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI, HTTPException
from fastapi.testclient import TestClient
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

PROGRAM = Path(__file__).parent / "support" / "opentelemetry_program.py"
TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def provider(exporter: InMemorySpanExporter) -> Iterator[TracerProvider]:
    made = TracerProvider()
    made.add_span_processor(SimpleSpanProcessor(exporter))
    yield made
    made.shutdown()


@pytest.fixture(params=["before the routes", "after the routes"])
def instrumented(
    request: pytest.FixtureRequest,
    application: Callable[..., FastAPI],
    open_client: Callable[..., TestClient],
    provider: TracerProvider,
) -> Iterator[TestClient]:
    app = application()
    router = APIRouter(prefix="/orders")

    @router.get("/{number}")
    async def read(number: int) -> dict[str, int]:
        with provider.get_tracer("orders").start_as_current_span("look up"):
            return {"number": number}

    @router.get("/{number}/broken")
    async def broken(number: int) -> None:
        raise RuntimeError("the cause")

    @router.get("/{number}/unknown")
    async def unknown(number: int) -> None:
        raise HTTPException(404)

    if request.param == "before the routes":
        FastAPIInstrumentor.instrument_app(app, tracer_provider=provider)
        app.include_router(router)
    else:
        app.include_router(router)
        FastAPIInstrumentor.instrument_app(app, tracer_provider=provider)
    yield open_client(app)
    FastAPIInstrumentor.uninstrument_app(app)


def server_span(exporter: InMemorySpanExporter) -> ReadableSpan:
    (span,) = [each for each in exporter.get_finished_spans() if each.kind is SpanKind.SERVER]
    return span


def test_a_request_is_one_server_span_named_by_its_route(
    instrumented: TestClient, exporter: InMemorySpanExporter
) -> None:
    assert instrumented.get("/orders/7").json() == {"number": 7}
    span = server_span(exporter)
    assert span.name == "GET /orders/{number}"
    assert span.attributes is not None
    assert span.attributes["http.route"] == "/orders/{number}"
    assert span.attributes["http.method"] == "GET"
    assert span.attributes["http.status_code"] == 200
    assert span.status.status_code is StatusCode.UNSET


def test_spans_of_the_route_belong_to_the_trace_of_the_caller(
    instrumented: TestClient, exporter: InMemorySpanExporter
) -> None:
    instrumented.get("/orders/7", headers={"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"})
    span = server_span(exporter)
    (inner,) = [each for each in exporter.get_finished_spans() if each.name == "look up"]
    assert inner.parent is not None
    assert span.context is not None
    assert inner.parent.span_id == span.context.span_id
    assert span.context.trace_id == int(TRACE, 16)
    assert span.parent is not None
    assert span.parent.span_id == 0xB7AD6B7169203331


def test_an_unhandled_exception_is_recorded_in_the_span(
    instrumented: TestClient, exporter: InMemorySpanExporter
) -> None:
    assert instrumented.get("/orders/7/broken").status_code == 500
    span = server_span(exporter)
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes is not None
    assert span.attributes["http.status_code"] == 500
    recorded = [event for event in span.events if event.name == "exception"]
    assert recorded
    assert {(event.attributes or {})["exception.type"] for event in recorded} == {"RuntimeError"}


@pytest.mark.parametrize("path", ["/orders/7/unknown", "/nowhere"])
def test_a_client_error_is_no_error_of_the_span(
    instrumented: TestClient, exporter: InMemorySpanExporter, path: str
) -> None:
    assert instrumented.get(path).status_code == 404
    span = server_span(exporter)
    assert span.status.status_code is StatusCode.UNSET
    assert span.attributes is not None
    assert span.attributes["http.status_code"] == 404


def test_an_application_that_is_no_longer_instrumented_makes_no_spans(
    application: Callable[..., FastAPI],
    open_client: Callable[..., TestClient],
    provider: TracerProvider,
    exporter: InMemorySpanExporter,
) -> None:
    app = application()

    @app.get("/")
    async def home() -> None: ...

    FastAPIInstrumentor.instrument_app(app, tracer_provider=provider)
    FastAPIInstrumentor.uninstrument_app(app)
    assert open_client(app).get("/").status_code == 200
    assert exporter.get_finished_spans() == ()


@pytest.fixture(scope="module")
def spans_by_kind(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    output = tmp_path_factory.mktemp("opentelemetry") / "spans.json"
    subprocess.run([sys.executable, PROGRAM, output], check=True, timeout=120)
    spans: dict[str, Any] = json.loads(output.read_text())
    return spans


def test_applications_made_after_instrument_are_instrumented(
    kind: str, spans_by_kind: dict[str, Any]
) -> None:
    ((name, attributes),) = spans_by_kind[kind]
    assert name == "GET /orders/{number}"
    assert attributes["http.route"] == "/orders/{number}"
