"""Settings of telemetry, and what OTEL_ENABLED exports."""

import importlib.util
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx2
import pytest
from pydantic import ValidationError

from service_platform.settings import PlatformSettings
from service_platform.settings.loading import EXIT_CONFIG, load_settings
from service_testing.services import RunningService

Received = list[tuple[str, bytes]]


@pytest.fixture
def collector() -> Iterator[tuple[str, Received]]:
    """A receiver of OTLP over HTTP; gives its address and what it got."""
    received: Received = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["content-length"])
            received.append((self.path, self.rfile.read(length)))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", received
    server.shutdown()
    server.server_close()


def test_without_an_endpoint_the_start_ends_with_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OTEL_ENABLED", "true")
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    with pytest.raises(SystemExit) as ended:
        load_settings(PlatformSettings)
    assert ended.value.code == EXIT_CONFIG
    assert "OTEL_ENABLED: is true, so set OTEL_EXPORTER_OTLP_ENDPOINT" in capsys.readouterr().err


@pytest.mark.parametrize("missing", ["raises", "is none"])
def test_without_the_extra_the_start_ends_with_one_sentence(
    monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    def find_spec(name: str) -> None:
        if missing == "raises":
            raise ModuleNotFoundError(name)

    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
    monkeypatch.setattr("service_platform.settings.telemetry.find_spec", find_spec)
    with pytest.raises(ValidationError, match="service-platform\\[otel\\]"):
        PlatformSettings(_env_file=None, otel_enabled=True)


def test_spans_and_metrics_reach_the_collector(
    collector: tuple[str, Received], service_environment: dict[str, str], tmp_path: object
) -> None:
    address, received = collector
    assert importlib.util.find_spec("opentelemetry.sdk")
    environment = {
        **service_environment,
        "OTEL_ENABLED": "true",
        "OTEL_EXPORTER_OTLP_ENDPOINT": address,
        "OTEL_SERVICE_NAME": "shop-under-test",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    service = RunningService("shop", environment, tmp_path)  # type: ignore[arg-type]
    try:
        service.start()
        assert httpx2.get(f"{service.url}/api/v1/products").status_code == 200
    finally:
        service.stop()
    paths = {path for path, _ in received}
    assert {"/v1/traces", "/v1/metrics"} <= paths
    content = b"".join(body for _, body in received)
    assert b"shop-under-test" in content
    assert b"/api/v1/products" in content
