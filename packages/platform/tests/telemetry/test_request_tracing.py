"""Which requests are recorded, what their spans tell, and where their ids are said."""

import asyncio
import io
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, cast

import httpx2
import pytest
from fastapi import APIRouter, BackgroundTasks, WebSocket
from fastapi.telemetry import TelemetryConfig
from fastapi.testclient import TestClient
from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.propagators.textmap import (
    CarrierT,
    Getter,
    Setter,
    TextMapPropagator,
    default_getter,
    default_setter,
)
from packages.platform.tests.telemetry.conftest import MakeClient
from starlette.requests import Request
from starlette.responses import Response

from service_platform import logging
from service_platform.acceleration.endpoints import CompiledEndpoint
from service_platform.app import ServiceApp, create_app
from service_platform.context import current_context
from service_platform.settings import PlatformSettings
from service_platform.telemetry.propagation import trace_headers
from service_platform.telemetry.tracing import span
from service_testing.collector import Collector, ReceivedSpan

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN_ID = "00f067aa0ba902b7"
SAMPLED = f"00-{TRACE_ID}-{SPAN_ID}-01"
NOT_SAMPLED = f"00-{TRACE_ID}-{SPAN_ID}-00"
SERVER, CLIENT, INTERNAL = 2, 3, 1

router = APIRouter()


@router.get("/passed-on")
async def passed_on() -> dict[str, str]:
    """The headers that a call of another service would have."""
    logging.get_logger("shop").info("inside")
    return trace_headers(current_context())


@router.get("/span")
async def own_span() -> dict[str, str]:
    with span("own"):
        return {}


@router.get("/numbers/{number}")
async def number(number: int) -> int:
    return number


@router.get("/fails")
async def fails() -> None:
    raise ValueError("no answer from postgresql://me:hunter2@db/shop")


@router.get("/fails-in-a-span")
async def fails_in_a_span() -> None:
    with span("outer"), span("inner"):
        raise ValueError("once")


@router.get("/background")
async def background(tasks: BackgroundTasks) -> None:
    async def afterwards() -> None:
        with span("afterwards"):
            pass

    tasks.add_task(afterwards)


@router.websocket("/echo")
async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    with span("message"):
        await websocket.send_text(await websocket.receive_text())
    await websocket.close()


class Serving:
    """An application that runs, its client, and what it has written."""

    def __init__(self, app: ServiceApp, client: httpx2.AsyncClient, output: io.StringIO) -> None:
        self.app, self.client, self._output = app, client, output

    async def get(self, path: str, **headers: str) -> httpx2.Response:
        return await self.client.get(f"/api/v1{path}", headers=headers)

    def log(self, event: str) -> list[dict[str, Any]]:
        """The lines of an event."""
        logging.writer.close()
        lines = map(json.loads, self._output.getvalue().splitlines())
        return [line for line in lines if line["event"] == event]


Serve = Callable[..., AbstractAsyncContextManager[Serving]]


@pytest.fixture
def make_app(
    otel_variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., ServiceApp]:
    def make(telemetry: TelemetryConfig | None = None, **variables: str) -> ServiceApp:
        for name, value in {**otel_variables, "OTEL_METRICS_EXPORTER": "none", **variables}.items():
            monkeypatch.setenv(name, value)
        settings = PlatformSettings(
            _env_file=None,
            environment="test",
            project_name="shop",
            rate_limit_backend="memory",
            log_format="json",
        )
        return create_app(settings, routers=[router], telemetry=telemetry)

    return make


@pytest.fixture
def serve(make_app: Callable[..., ServiceApp]) -> Iterator[Serve]:
    """`async with serve(OTEL_TRACES_SAMPLER="always_off") as service:`; exported at its end."""

    @asynccontextmanager
    async def running(**options: Any) -> AsyncIterator[Serving]:
        app, output = make_app(**options), io.StringIO()
        logging.configure_logging(app.state.settings, stream=output)
        transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
        async with (
            app.router.lifespan_context(app),
            httpx2.AsyncClient(transport=transport, base_url="http://shop.test") as client,
        ):
            yield Serving(app, client, output)

    yield running
    logging.configure_logging(PlatformSettings())


def only(spans: list[ReceivedSpan], name: str) -> ReceivedSpan:
    (found,) = [each for each in spans if each.name == name]
    return found


async def test_a_request_and_its_statements_are_one_trace(
    exporting_client: MakeClient, collector: Collector
) -> None:
    body = {"name": "a"}
    async with exporting_client() as client:
        created = await client.post(
            "/api/v1/products", json=body, headers={"idempotency-key": "k", "x-request-id": "r"}
        )
        assert created.status_code == 201
    request = only(collector.spans, "POST /api/v1/products")
    assert (request.kind, request.parent_id, request.service) == (SERVER, "", "shop")
    assert request.attributes["http.route"] == "/api/v1/products"
    assert request.attributes["http.response.status_code"] == 201
    assert request.attributes["http.response.header.x-request-id"] == ["r"]
    assert request.attributes["client.address"] == "127.0.0.1"
    assert request.attributes["user_agent.original"].startswith("python-httpx2")
    assert {each.trace_id for each in collector.spans} == {request.trace_id}
    endpoint = only(collector.spans, "fastapi.endpoint")
    assert (endpoint.kind, endpoint.parent_id) == (INTERNAL, request.span_id)
    assert only(collector.spans, "rate_limit").parent_id == request.span_id
    statement = only(collector.spans, "INSERT products")
    assert (statement.kind, statement.parent_id) == (CLIENT, endpoint.span_id)
    known = {each.span_id for each in collector.spans}
    assert all(each.parent_id in known for each in collector.spans if each is not request)
    assert len(known) == len(collector.spans)


async def test_log_problem_and_span_say_the_same_ids(serve: Serve, collector: Collector) -> None:
    async with serve() as service:
        passed = (await service.get("/passed-on")).json()
        problem = (await service.get("/numbers/x")).json()
    for path, ids in (("passed-on", passed), ("numbers/{number}", problem)):
        request = only(collector.spans, f"GET /api/v1/{path}")
        (line,) = [each for each in service.log("request") if each["trace_id"] == request.trace_id]
        assert line["span_id"] == request.span_id
        assert line["http.route"] == f"/api/v1/{path}"
        assert request.trace_id in (ids.get("trace_id"), ids.get("traceparent", "")[3:35])
    (inside,) = service.log("inside")
    request = only(collector.spans, "GET /api/v1/passed-on")
    assert inside["trace_id"] == request.trace_id
    assert passed["traceparent"][:52] == f"00-{request.trace_id}-{inside['span_id']}"


async def test_a_line_outside_of_operations_is_of_the_server_span(
    serve: Serve, collector: Collector
) -> None:
    async with serve(telemetry={"operation_spans": False}) as service:
        await service.get("/passed-on")
    (inside,) = service.log("inside")
    request = only(collector.spans, "GET /api/v1/passed-on")
    assert (inside["trace_id"], inside["span_id"]) == (request.trace_id, request.span_id)


@pytest.mark.parametrize("sampler", ["parentbased_always_on", "parentbased_always_off"])
async def test_a_trace_that_its_caller_records_goes_on(
    serve: Serve, collector: Collector, sampler: str
) -> None:
    async with serve(OTEL_TRACES_SAMPLER=sampler) as service:
        passed = await service.get("/passed-on", traceparent=SAMPLED, tracestate="a=b")
    request = only(collector.spans, "GET /api/v1/passed-on")
    assert (request.trace_id, request.parent_id) == (TRACE_ID, SPAN_ID)
    assert passed.json()["traceparent"][:36] == SAMPLED[:36]
    assert passed.json()["traceparent"][-2:] == "01"
    assert passed.json()["tracestate"] == "a=b"
    (line,) = service.log("request")
    assert (line["trace_id"], line["span_id"]) == (TRACE_ID, request.span_id)


async def test_a_trace_that_its_caller_does_not_record_is_only_passed_on(
    serve: Serve, collector: Collector
) -> None:
    async with serve() as service:
        passed = await service.get("/passed-on", traceparent=NOT_SAMPLED, tracestate="a=b")
        failed = await service.get("/numbers/x", traceparent=NOT_SAMPLED)
        await service.get("/span", traceparent=NOT_SAMPLED)
    assert passed.json() == {"traceparent": NOT_SAMPLED, "tracestate": "a=b"}
    assert failed.json()["trace_id"] == TRACE_ID
    for line in service.log("request") + service.log("inside"):
        assert (line["trace_id"], line["span_id"]) == (TRACE_ID, SPAN_ID)
    assert collector.spans == []


async def test_a_trace_that_only_its_caller_records_is_told_so(
    serve: Serve, collector: Collector
) -> None:
    async with serve(OTEL_TRACES_SAMPLER="always_off") as service:
        passed = await service.get("/passed-on", traceparent=SAMPLED)
        await service.get("/span", traceparent=SAMPLED)
    assert passed.json() == {"traceparent": NOT_SAMPLED}
    assert collector.spans == []


@pytest.mark.parametrize(
    "traceparent", ["nonsense", f"00-{'0' * 32}-{SPAN_ID}-01", f"ff-{TRACE_ID}-{SPAN_ID}-01"]
)
async def test_an_invalid_parent_begins_a_new_trace(
    serve: Serve, collector: Collector, traceparent: str
) -> None:
    async with serve() as service:
        await service.get("/passed-on", traceparent=traceparent)
    request = only(collector.spans, "GET /api/v1/passed-on")
    assert request.parent_id == ""
    assert request.trace_id not in traceparent
    (line,) = service.log("request")
    assert line["trace_id"] == request.trace_id


@pytest.mark.parametrize(
    "variables",
    [
        {"OTEL_TRACES_SAMPLER": "always_off"},
        {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0"},
    ],
)
async def test_what_is_not_sampled_has_ids_and_no_spans(
    serve: Serve, collector: Collector, variables: dict[str, str]
) -> None:
    async with serve(**variables) as service:
        passed = (await service.get("/passed-on")).json()["traceparent"]
        problem = (await service.get("/numbers/x")).json()
    first, second = service.log("request")
    (inside,) = service.log("inside")
    assert passed == f"00-{first['trace_id']}-{first['span_id']}-00"
    assert (inside["trace_id"], inside["span_id"]) == (first["trace_id"], first["span_id"])
    assert problem["trace_id"] == second["trace_id"] != first["trace_id"]
    assert collector.spans == []


async def test_a_share_of_the_requests_is_recorded(serve: Serve, collector: Collector) -> None:
    async with serve(OTEL_TRACES_SAMPLER="traceidratio", OTEL_TRACES_SAMPLER_ARG="0.5") as service:
        for _ in range(64):
            await service.get("/numbers/1")
    recorded = {each.trace_id for each in collector.spans if each.kind == SERVER}
    assert 0 < len(recorded) < 64
    ids = {line["trace_id"] for line in service.log("request")}
    assert len(ids) == 64
    assert recorded == {each for each in ids if int(each[16:], 16) < 2**63}


@pytest.mark.parametrize("sampler", ["always_on", "parentbased_always_on"])
async def test_probes_and_scrapes_are_never_recorded(
    serve: Serve, collector: Collector, sampler: str
) -> None:
    async with serve(OTEL_TRACES_SAMPLER=sampler) as service:
        for path in ("/health", "/health/live", "/health/ready", "/health/startup", "/metrics"):
            answer = await service.client.get(path, headers={"traceparent": SAMPLED})
            assert answer.status_code == 200
    assert collector.spans == []


async def test_an_unhandled_exception_is_recorded_once_without_passwords(
    serve: Serve, collector: Collector
) -> None:
    async with serve() as service:
        answer = await service.get("/fails")
    assert answer.status_code == 500
    request = only(collector.spans, "GET /api/v1/fails")
    assert request.is_error
    assert request.attributes["error.type"] == "ValueError"
    events = [(each.name, event) for each in collector.spans for event in each.events]
    ((of_span, (name, attributes)),) = events
    assert (of_span, name) == (request.name, "exception")
    assert attributes["exception.type"] == "ValueError"
    assert attributes["exception.message"] == "no answer from postgresql://me:***@db/shop"
    assert "Traceback" in attributes["exception.stacktrace"]
    assert "in fails" in attributes["exception.stacktrace"]
    assert "hunter2" not in str(collector.spans)
    assert answer.json()["trace_id"] == request.trace_id


async def test_an_exception_is_recorded_by_the_innermost_span(
    serve: Serve, collector: Collector
) -> None:
    async with serve() as service:
        await service.get("/fails-in-a-span")
    names = [each.name for each in collector.spans for _ in each.events]
    assert names == ["inner"]
    errors = {each.name for each in collector.spans if each.is_error}
    assert errors == {"inner", "outer", "fastapi.endpoint", "GET /api/v1/fails-in-a-span"}


async def test_a_problem_that_is_answered_is_no_exception(
    serve: Serve, collector: Collector
) -> None:
    async with serve() as service:
        assert (await service.get("/none")).status_code == 404
        assert (await service.get("/numbers/x")).status_code == 422
    assert sorted(each.name for each in collector.spans if each.kind == SERVER) == [
        "GET",
        "GET /api/v1/numbers/{number}",
    ]
    for each in collector.spans:
        assert (each.is_error, each.events) == (False, [])


async def test_background_tasks_are_in_the_trace_of_their_request(
    serve: Serve, collector: Collector
) -> None:
    async with serve() as service:
        await service.get("/background")
    request = only(collector.spans, "GET /api/v1/background")
    task = only(collector.spans, "fastapi.background_task")
    afterwards = only(collector.spans, "afterwards")
    assert {each.trace_id for each in (task, afterwards)} == {request.trace_id}
    assert (task.parent_id, afterwards.parent_id) == (request.span_id, task.span_id)


def test_a_websocket_is_a_span(make_app: Callable[..., ServiceApp], collector: Collector) -> None:
    with TestClient(make_app()) as client:
        for parent in (SAMPLED, NOT_SAMPLED):
            with client.websocket_connect(
                "/api/v1/echo", headers={"traceparent": parent}
            ) as websocket:
                websocket.send_text("hello")
                assert websocket.receive_text() == "hello"
    socket = only(collector.spans, "WS /api/v1/echo")
    assert (socket.kind, socket.trace_id, socket.parent_id) == (SERVER, TRACE_ID, SPAN_ID)
    assert socket.attributes["http.response.header.x-request-id"]
    message = only(collector.spans, "message")
    assert message.trace_id == TRACE_ID
    assert not socket.is_error


async def test_what_a_service_excludes_is_not_recorded(serve: Serve, collector: Collector) -> None:
    def exclude(scope: Any) -> bool:
        return not str(scope["path"]).endswith("/numbers/1")

    async with serve(telemetry={"exclude": exclude}, OTEL_TRACES_SAMPLER="always_on") as service:
        await service.client.get("/health/live")
        await service.get("/span")
        passed = (await service.get("/passed-on", traceparent=SAMPLED)).json()
        await service.get("/numbers/1")
    # An operation that took long, on a busy machine, is a span of the same trace.
    (recorded,) = {each.trace_id for each in collector.spans}
    assert only(collector.spans, "GET /api/v1/numbers/{number}").trace_id == recorded
    assert passed["traceparent"] == NOT_SAMPLED
    (line,) = service.log("inside")
    assert line["trace_id"] == TRACE_ID


async def test_a_service_may_have_no_spans_of_requests(serve: Serve, collector: Collector) -> None:
    async with serve(telemetry={"tracing": False}) as service:
        await service.get("/span")
        assert (await service.get("/fails")).status_code == 500
    assert collector.spans == []


def test_a_service_cannot_export_twice(
    make_app: Callable[..., ServiceApp], collector: Collector
) -> None:
    with TestClient(make_app(telemetry={"auto_configure": True})) as client:
        client.get("/api/v1/numbers/1")
    only(collector.spans, "GET /api/v1/numbers/{number}")


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths of requests that a compiled endpoint answered."""
    paths: list[str] = []
    original = CompiledEndpoint.__call__

    async def note(self: CompiledEndpoint, request: Request) -> Response:
        paths.append(request.url.path)
        return await original(self, request)

    monkeypatch.setattr(CompiledEndpoint, "__call__", note)
    return paths


async def test_what_is_not_recorded_goes_around_the_middleware_stack(
    serve: Serve, compiled: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve() as service:
        inner: Any = service.app._platform_middleware._app
        stack, original = [], inner._app

        async def note(scope: Any, *rest: Any) -> None:
            stack.append(scope["path"])
            await original(scope, *rest)

        monkeypatch.setattr(inner, "_app", note)
        await service.get("/numbers/1", traceparent=SAMPLED)  # which also builds the stack
        await service.get("/numbers/2", traceparent=NOT_SAMPLED)
        await service.get("/numbers/3", traceparent=SAMPLED)
    assert stack == ["/api/v1/numbers/1", "/api/v1/numbers/3"]
    assert compiled == ["/api/v1/numbers/2"]


GETTER: Getter[Any] = cast("Getter[Any]", default_getter)
SETTER: Setter[Any] = cast("Setter[Any]", default_setter)


class OneHeader(TextMapPropagator):
    """A propagator of a header of its own: trace id, a slash, span id."""

    def extract(
        self,
        carrier: CarrierT,
        context: Context | None = None,
        getter: Getter[CarrierT] = GETTER,
    ) -> Context:
        found = getter.get(carrier, "X-Trace")
        if not found:
            return context or Context()
        trace_id, span_id = (int(part, 16) for part in next(iter(found)).split("/"))
        flags = trace.TraceFlags(1)
        remote = trace.SpanContext(trace_id, span_id, is_remote=True, trace_flags=flags)
        return trace.set_span_in_context(trace.NonRecordingSpan(remote), context)

    def inject(
        self,
        carrier: CarrierT,
        context: Context | None = None,
        setter: Setter[CarrierT] = SETTER,
    ) -> None:
        of_span = trace.get_current_span(context).get_span_context()
        setter.set(carrier, "X-Trace", f"{of_span.trace_id:032x}/{of_span.span_id:016x}")

    @property
    def fields(self) -> set[str]:
        return {"X-Trace"}


@pytest.fixture
def use_propagator() -> Iterator[Callable[[TextMapPropagator], None]]:
    before = propagate.get_global_textmap()
    yield propagate.set_global_textmap
    propagate.set_global_textmap(before)


async def test_another_propagator_counts_alone(
    serve: Serve, collector: Collector, use_propagator: Callable[[TextMapPropagator], None]
) -> None:
    use_propagator(OneHeader())
    async with serve(OTEL_TRACES_SAMPLER="parentbased_always_off") as service:
        passed = await service.get(
            "/passed-on", **{"x-trace": f"{'a' * 32}/{'b' * 16}", "traceparent": NOT_SAMPLED}
        )
        await service.get("/numbers/1", traceparent=SAMPLED)
    request = only(collector.spans, "GET /api/v1/passed-on")
    assert (request.trace_id, request.parent_id) == ("a" * 32, "b" * 16)
    assert passed.json().keys() == {"X-Trace"}
    assert passed.json()["X-Trace"].startswith("a" * 32)
    assert {each.trace_id for each in collector.spans} == {"a" * 32}


async def test_b3_headers_are_understood(
    serve: Serve, collector: Collector, use_propagator: Callable[[TextMapPropagator], None]
) -> None:
    b3 = pytest.importorskip("opentelemetry.propagators.b3")
    use_propagator(b3.B3MultiFormat())
    async with serve(OTEL_TRACES_SAMPLER="parentbased_always_off") as service:
        headers = {"x-b3-traceid": TRACE_ID, "x-b3-spanid": SPAN_ID, "x-b3-sampled": "1"}
        await service.get("/numbers/1", **headers)
    request = only(collector.spans, "GET /api/v1/numbers/{number}")
    assert (request.trace_id, request.parent_id) == (TRACE_ID, SPAN_ID)


OWN_PROVIDER = """
import asyncio, json
from fastapi import APIRouter
from httpx2 import ASGITransport, AsyncClient
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, Sampler

class Own(Sampler):
    def should_sample(self, parent_context, trace_id, name, kind=None, attributes=None, **rest):
        path = (attributes or {}).get("url.path", "")
        sampler = ALWAYS_OFF if path.endswith("/unwanted") else ALWAYS_ON
        return sampler.should_sample(parent_context, trace_id, name, kind, attributes, **rest)
    def get_description(self):
        return "own"

own = InMemorySpanExporter()
provider = TracerProvider(sampler=ParentBased(Own()))
provider.add_span_processor(SimpleSpanProcessor(own))
trace.set_tracer_provider(provider)

from service_platform.app import create_app
from service_platform.settings import PlatformSettings

router = APIRouter()

@router.get("/unwanted")
@router.get("/wanted")
async def endpoint() -> str:
    return format(trace.get_current_span().get_span_context().trace_id, "032x")

async def main():
    app = create_app(PlatformSettings(), routers=[router])
    async with app.router.lifespan_context(app), AsyncClient(
        transport=ASGITransport(app), base_url="http://test"
    ) as client:
        for path in ("/api/v1/wanted", "/api/v1/unwanted", "/health/live"):
            assert (await client.get(path)).status_code == 200
    assert trace.get_tracer_provider() is provider
    spans = [(s.name, format(s.context.span_id, "016x")) for s in own.get_finished_spans()]
    print(json.dumps(spans))

asyncio.run(main())
"""


async def test_a_tracer_provider_of_the_service_keeps_its_sampler_and_its_exporter(
    collector: Collector, otel_variables: dict[str, str]
) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "ENVIRONMENT": "test",
        "RATE_LIMIT_BACKEND": "memory",
        "LOG_LEVEL": "ERROR",
        **otel_variables,
    }
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", OWN_PROVIDER],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    own = {(str(name), str(span_id)) for name, span_id in json.loads(done.stdout)}
    exported = {(each.name, each.span_id) for each in collector.spans}
    names = [name for name, _ in exported]
    assert [name for name in names if name.startswith("GET")] == ["GET /api/v1/wanted"]
    assert exported <= own


async def test_the_values_of_a_query_are_in_no_span(serve: Serve, collector: Collector) -> None:
    async with serve(OTEL_TRACES_SAMPLER="always_on") as service:
        await service.get("/numbers/1?token=s3cret&page=2&s3cret2")
    (request,) = [each for each in collector.spans if each.kind == SERVER]
    assert request.attributes["url.query"] == "token=REDACTED&page=REDACTED&s3cret2=REDACTED"
