"""Traces and metrics reach the collector; a collector that does not work hinders nobody."""

import asyncio
import os
import socketserver
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi import APIRouter
from opentelemetry import metrics
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from service_platform.app import create_app
from service_platform.settings import PlatformSettings
from service_platform.telemetry import export
from service_platform.telemetry.export import TelemetryExport
from service_platform.telemetry.tracing import span
from service_testing.collector import Collector
from service_testing.ports import free_port
from service_testing.services import RunningService

router = APIRouter()
REQUESTS = 6


@router.get("/number")
async def number() -> int:
    return 7


@asynccontextmanager
async def serving(**settings: Any) -> AsyncIterator[httpx2.AsyncClient]:
    # The resource of a process is that of its first application, here and in other files.
    chosen = PlatformSettings(
        _env_file=None,
        project_name="shop",
        environment="test",
        rate_limit_enabled=False,
        **settings,
    )
    # So a request is one span; operations are spans or not, as long as they take.
    app = create_app(chosen, routers=[router], telemetry={"operation_spans": False})
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app), base_url="http://shop.test/api/v1"
        ) as client,
    ):
        yield client


@pytest.fixture
def set_variables(
    otel_variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., None]:
    """Makes this process export to the collector, with further variables."""

    def set_them(**changed: str) -> None:
        for name, value in {**otel_variables, **changed}.items():
            monkeypatch.setenv(name, value)

    return set_them


Variables = Callable[..., None]


def total(name: str, **labels: str) -> float:
    value = REGISTRY.get_sample_value(name, labels)
    assert value is not None
    return value


def dropped() -> float:
    reasons = ("queue_full", "export_failed", "shutdown")
    return sum(total("telemetry_spans_dropped_total", reason=each) for each in reasons)


def exported() -> float:
    return total("telemetry_spans_exported_total")


async def test_what_waits_is_exported_at_the_end(
    set_variables: Variables, collector: Collector
) -> None:
    set_variables(OTEL_BSP_SCHEDULE_DELAY="60000", OTEL_METRIC_EXPORT_INTERVAL="60000")
    before = exported()
    async with serving() as client:
        await client.get("/number")
        assert collector.spans == []
    assert "GET /api/v1/number" in {each.name for each in collector.spans}
    assert exported() - before == len(collector.spans)
    assert "http_server_request_duration_seconds" in collector.metrics


async def test_spans_and_metrics_are_exported_meanwhile(
    set_variables: Variables, collector: Collector
) -> None:
    set_variables(OTEL_METRIC_EXPORT_INTERVAL="20")
    async with serving() as client:
        await client.get("/number")
        await asyncio.to_thread(
            collector.wait_for,
            lambda spans: spans and "http_server_active_requests" in collector.metrics,
        )


@pytest.mark.parametrize(
    ("variables", "spans", "has_metrics"),
    [
        ({"OTEL_METRICS_EXPORTER": "none"}, True, False),
        ({"OTEL_TRACES_EXPORTER": "none"}, False, True),
        ({"OTEL_SDK_DISABLED": "true"}, False, False),
        ({"OTEL_ENABLED": "false"}, False, False),
    ],
)
async def test_each_signal_can_be_switched_off(
    set_variables: Variables,
    collector: Collector,
    variables: dict[str, str],
    spans: bool,
    has_metrics: bool,
) -> None:
    set_variables(**variables)
    async with serving() as client:
        assert (await client.get("/number")).json() == 7
    assert bool(collector.spans) is spans
    assert bool(collector.metrics) is has_metrics


async def test_applications_of_a_process_export_one_after_the_other(
    set_variables: Variables, collector: Collector
) -> None:
    set_variables()
    for _ in range(2):
        collector.spans.clear()
        collector.metrics.clear()
        async with serving() as client:
            await client.get("/number")
        assert len(collector.spans) == 1
        assert "http_server_active_requests" in collector.metrics
    with span("of no application"):
        pass
    assert len(collector.spans) == 1


async def test_what_a_service_measures_with_opentelemetry_is_exported_too(
    set_variables: Variables, collector: Collector
) -> None:
    set_variables()
    async with serving():
        metrics.get_meter("of the service").create_counter("own_orders").add(3)
    (point,) = collector.metrics["own_orders"].sum.data_points
    assert point.as_int == 3


@pytest.mark.parametrize("value", ["0", "-5", "x", "1e3", "inf"])
async def test_a_number_that_is_none_is_as_if_it_were_not_there(
    set_variables: Variables, collector: Collector, value: str
) -> None:
    names = (
        "OTEL_BSP_MAX_QUEUE_SIZE",
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
        "OTEL_BSP_SCHEDULE_DELAY",
        "OTEL_METRIC_EXPORT_INTERVAL",
    )
    set_variables(**dict.fromkeys(names, value))
    async with serving() as client:
        await client.get("/number")
    assert len(collector.spans) == 1


async def test_a_queue_may_be_smaller_than_a_batch(
    set_variables: Variables, collector: Collector
) -> None:
    set_variables(OTEL_BSP_MAX_QUEUE_SIZE="3")
    async with serving() as client:
        await client.get("/number")
    assert len(collector.spans) == 1


async def test_a_token_of_the_secrets_directory_reaches_the_collector_alone(
    set_variables: Variables, collector: Collector, tmp_path: Path
) -> None:
    (tmp_path / "otel_exporter_otlp_headers").write_text("authorization=Bearer%20hunter2\n")
    set_variables(OTEL_EXPORTER_OTLP_HEADERS="authorization=wrong")
    async with serving(secrets_dir=tmp_path) as client:
        await client.get("/number")
        assert os.environ["OTEL_EXPORTER_OTLP_HEADERS"] == "authorization=wrong"
    assert len(collector.headers) >= 2
    assert {each["authorization"] for each in collector.headers} == {"Bearer hunter2"}


class Nonsense(socketserver.BaseRequestHandler):
    """Speaks no HTTP."""

    def handle(self) -> None:
        self.request.recv(1)
        self.request.sendall(b"220 mail.example ready\r\n")


@pytest.fixture
def mail_server() -> Iterator[str]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Nonsense) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture
def broken(request: pytest.FixtureRequest, collector: Collector) -> Iterator[str]:
    """The address of a collector that does not work."""
    released = threading.Event()

    def hang() -> tuple[int, bytes]:
        released.wait(30)
        return 500, b""

    kind: str = request.param
    if kind == "hangs":
        collector.answer = hang
    elif kind.isdigit():
        collector.answer = lambda: (int(kind), b"nonsense")
    url = collector.url
    if kind == "is not there":
        url = f"http://127.0.0.1:{free_port()}"
    elif kind == "is none":
        url = request.getfixturevalue("mail_server")
    yield url
    released.set()


@pytest.mark.parametrize(
    "broken", ["hangs", "is not there", "is none", "500", "503", "404"], indirect=True
)
async def test_a_collector_that_does_not_work_costs_spans_and_no_request(
    set_variables: Variables, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    monkeypatch.setattr(export, "FLUSH_SECONDS", 0.3)
    set_variables(OTEL_EXPORTER_OTLP_ENDPOINT=broken, OTEL_EXPORTER_OTLP_TIMEOUT="2")
    before = dropped(), exported()
    async with asyncio.timeout(20), serving(log_level="CRITICAL") as client:
        for _ in range(REQUESTS):
            answer = await client.get("/number")
            assert (answer.status_code, answer.json()) == (200, 7)
    assert dropped() - before[0] == REQUESTS
    assert exported() == before[1]


async def test_an_answer_that_nobody_understands_is_an_answer(
    set_variables: Variables, collector: Collector
) -> None:
    set_variables()
    collector.answer = lambda: (200, b"\xff nonsense")
    before = dropped(), exported()
    async with serving() as client:
        await client.get("/number")
    assert (dropped(), exported()) == (before[0], before[1] + 1)


@pytest.mark.parametrize("broken", ["hangs"], indirect=True)
async def test_what_was_left_behind_is_logged(
    set_variables: Variables, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    monkeypatch.setattr(export, "FLUSH_SECONDS", 0.1)
    set_variables()
    with capture_logs() as lines:
        async with TelemetryExport(PlatformSettings(_env_file=None, project_name="shop")):
            for _ in range(3):
                with span("a"):
                    pass
    (line,) = [line for line in lines if line["event"] == "telemetry_not_flushed"]
    assert (line["spans"], line["seconds"]) == (3, 0.1)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        (
            {},
            {
                "service.name": "shop",
                "service.version": "1.2.3",
                "deployment.environment.name": "test",
                "process.pid": os.getpid(),
            },
        ),
        ({"OTEL_SERVICE_NAME": "other"}, {"service.name": "other", "service.version": "1.2.3"}),
        (
            {
                "OTEL_RESOURCE_ATTRIBUTES": "service.version=9,service.instance.id=pod-1,"
                "k8s.pod.name=a%20b,service.name=third"
            },
            {
                "service.name": "third",
                "service.version": "9",
                "service.instance.id": "pod-1",
                "k8s.pod.name": "a b",
                "deployment.environment.name": "test",
            },
        ),
        (
            {"OTEL_SERVICE_NAME": "other", "OTEL_RESOURCE_ATTRIBUTES": "service.name=third"},
            {"service.name": "other"},
        ),
    ],
)
def test_a_process_is_described_by_its_settings_and_the_variables_win(
    set_variables: Variables, variables: dict[str, str], expected: dict[str, object]
) -> None:
    set_variables(**variables)
    settings = PlatformSettings(
        _env_file=None, project_name="shop", version="1.2.3", environment="test"
    )
    attributes = TelemetryExport(settings)._resource().attributes
    assert {name: attributes[name] for name in expected} == expected


Start = Callable[..., RunningService]


def test_a_process_exports_what_it_did_until_it_was_told_to_end(
    running_service: Start, otel_variables: dict[str, str], collector: Collector
) -> None:
    service = running_service(
        **{**otel_variables, "OTEL_BSP_SCHEDULE_DELAY": "60000", "OTEL_SERVICE_NAME": "other"}
    )
    traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    with closing(httpx2.Client(base_url=service.url)) as client:
        answer = client.get("/api/v1/products", headers={"traceparent": traceparent})
    assert answer.status_code == 200
    assert service.stop() == 0
    spans = {each.name: each for each in collector.spans}
    request = spans["GET /api/v1/products"]
    assert (request.trace_id, request.parent_id) == (traceparent[3:35], traceparent[36:52])
    assert spans["SELECT products"].trace_id == request.trace_id
    assert request.resource["service.name"] == "other"
    assert request.resource["service.version"] == "0.1.0"
    assert request.resource["deployment.environment.name"] == "test"
    assert request.resource["process.pid"] != os.getpid()
    assert request.resource["service.instance.id"]
    assert "http_server_request_duration_seconds" in collector.metrics


@pytest.mark.parametrize("broken", ["hangs"], indirect=True)
def test_a_process_ends_however_its_collector_hangs(
    running_service: Start, otel_variables: dict[str, str], broken: str
) -> None:
    service = running_service(**otel_variables)
    with closing(httpx2.Client(base_url=service.url)) as client:
        assert client.get("/api/v1/products").status_code == 200
    assert service.stop() == 0
    assert service.output().count('"telemetry_not_flushed"') == 1
