"""The receiver as `up` runs it: a process, to which OpenTelemetry's own exporter sends."""

import asyncio
import gzip
import http.client
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import uvicorn
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from sample_spans import TRACE

from devtools.program import Process
from devtools.telemetry import exporting
from devtools.telemetry.receiver import Receiver
from devtools.telemetry.spans import Trace
from devtools.telemetry.store import SpanReader, SpanStore, store_path

LIMIT = 10_000
PROTOBUF = {"content-type": "application/x-protobuf"}
JSON = {"content-type": "application/json; charset=utf-8"}
SPAN = json.dumps(
    {"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": TRACE, "spanId": "a" * 16}]}]}]}
).encode()


@dataclass
class Viewer:
    """Another receiver, which remembers what was sent to it."""

    url: str
    got: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    status: int = 200
    came: threading.Condition = field(default_factory=threading.Condition)

    def wait(self, count: int) -> None:
        with self.came:
            assert self.came.wait_for(lambda: len(self.got) >= count, 10), self.got


@contextmanager
def viewer(port: int) -> Iterator[Viewer]:
    made = Viewer(f"http://127.0.0.1:{port}/base/")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            self.send_response(made.status)
            self.send_header("content-length", "0")
            self.end_headers()
            with made.came:
                made.got.append((self.path, headers, body))
                made.came.notify_all()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()


@dataclass
class Served:
    """A receiver under uvicorn in this process."""

    port: int
    path: Path

    def post(
        self, body: bytes, headers: dict[str, str], path: str = "/v1/traces", method: str = "POST"
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, found, answer.read()
        finally:
            connection.close()

    def traces(self) -> list[Trace]:
        reader = SpanReader(self.path)
        try:
            return reader.traces("latest", 99)
        finally:
            reader.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    path = tmp_path_factory.mktemp("telemetry") / "spans.sqlite3"
    app = Receiver(SpanStore(path), body_bytes=LIMIT).app()
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
    yield Served(server.servers[0].sockets[0].getsockname()[1], path)
    server.should_exit = True
    thread.join()


@pytest.mark.parametrize("headers", [{}, {"content-encoding": "gzip"}])
def test_json_is_kept_and_answered_in_json(served: Served, headers: dict[str, str]) -> None:
    body = gzip.compress(SPAN) if headers else SPAN
    status, answered, content = served.post(body, {**JSON, **headers})
    assert (status, answered["content-type"], content) == (200, "application/json", b"{}")
    assert served.traces()[0].trace_id == TRACE


@pytest.mark.parametrize("signal", ["traces", "metrics", "logs"])
@pytest.mark.parametrize("headers", [PROTOBUF, JSON])
def test_every_signal_is_accepted_in_both_encodings(
    served: Served, signal: str, headers: dict[str, str]
) -> None:
    nothing = b"" if headers is PROTOBUF else b"{}"
    status, answered, content = served.post(nothing, headers, f"/v1/{signal}")
    assert (status, content) == (200, nothing)
    assert answered["content-type"] == headers["content-type"].partition(";")[0]


def test_spans_without_ids_are_rejected_and_the_rest_is_kept(served: Served) -> None:
    other = "c" * 32
    spans = [{"traceId": other, "spanId": "b" * 16}, {"traceId": other}]
    body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}).encode()
    status, _, content = served.post(body, JSON)
    assert (status, json.loads(content)["partialSuccess"]["rejectedSpans"]) == (200, "1")
    assert other in {each.trace_id for each in served.traces()}


@pytest.mark.parametrize("signal", ["traces", "metrics", "logs"])
def test_nonsense_is_refused_with_a_status_in_the_same_encoding(
    served: Served, signal: str
) -> None:
    status, _, content = served.post(b"\xff\xff nonsense", PROTOBUF, f"/v1/{signal}")
    assert status == 400
    assert "the body is no Export" in Status.FromString(content).message
    status, answered, content = served.post(b"nonsense", JSON, f"/v1/{signal}")
    assert (status, answered["content-type"]) == (400, "application/json")
    assert "the body is no Export" in json.loads(content)["message"]
    assert served.post(b"x", {**JSON, "content-encoding": "gzip"})[0] == 400


@pytest.mark.parametrize(
    ("path", "method", "headers", "expected"),
    [
        ("/v1/traces", "GET", PROTOBUF, (405, "allow", "POST")),
        ("/v1/traces", "PUT", PROTOBUF, (405, "allow", "POST")),
        ("/v1/spans", "POST", PROTOBUF, (404, "", "")),
        ("/v1/traces/", "POST", PROTOBUF, (404, "", "")),
        ("/v1/traces", "POST", {}, (415, "accept", "application/x-protobuf, application/json")),
        ("/v1/traces", "POST", {"content-type": "text/plain"}, (415, "accept", "")),
        (
            "/v1/traces",
            "POST",
            {**JSON, "content-encoding": "br"},
            (415, "accept-encoding", "gzip, identity"),
        ),
    ],
)
def test_what_is_no_export_is_told_apart(
    served: Served,
    path: str,
    method: str,
    headers: dict[str, str],
    expected: tuple[int, str, str],
) -> None:
    status, answered, _ = served.post(SPAN, headers, path, method)
    assert status == expected[0]
    assert expected[2] in answered.get(expected[1], "")
    assert not expected[1] or expected[1] in answered


def test_a_body_is_bounded_as_it_comes_and_decompressed(served: Served) -> None:
    zeros = b" " * (LIMIT - len(SPAN))
    assert served.post(SPAN + zeros, JSON)[0] == 200
    assert served.post(SPAN + zeros + b" ", JSON)[0] == 413
    packed = {**JSON, "content-encoding": "gzip"}
    assert served.post(gzip.compress(SPAN + zeros), packed)[0] == 200
    assert served.post(gzip.compress(SPAN + zeros + b" "), packed)[0] == 413
    chunked = {**JSON, "transfer-encoding": "chunked"}
    many = b"%x\r\n%s\r\n" % (LIMIT + 1, SPAN + zeros + b" ") + b"0\r\n\r\n"
    assert served.post(many, chunked)[0] == 413


@pytest.fixture
def port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free_port: Callable[[], int]) -> int:
    monkeypatch.setenv("DEV_STATE_DIR", str(tmp_path))
    return free_port()


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip])
async def test_the_exporter_of_opentelemetry_sends_to_the_program(
    port: int, free_port: Callable[[], int], compression: Compression
) -> None:
    """And the program keeps the spans, passes them on untouched, and ends when told."""
    said: list[str] = []
    with viewer(free_port()) as elsewhere:
        process = Process(exporting.receiver_program(port, elsewhere.url), said.append)
        await process.start()
        try:
            await asyncio.wait_for(process.ready(), 30)
            exporter = OTLPSpanExporter(
                f"{exporting.receiver_url(port)}/v1/traces",
                headers={"x-api-key": "k"},
                compression=compression,
            )
            provider = TracerProvider(resource=Resource({"service.name": "auth"}))
            provider.add_span_processor(SimpleSpanProcessor(exporter))
            await asyncio.to_thread(record, provider.get_tracer("test"))
            provider.shutdown()
            await asyncio.to_thread(elsewhere.wait, 2)
        finally:
            await process.stop()
    assert said == []
    (kept,) = SpanReader(store_path()).traces("latest", 9)
    assert [(each.name, each.kind, each.service) for each in kept.spans] == [
        ("POST /x", "server", "auth"),
        ("INSERT x", "client", "auth"),
    ]
    child = kept.spans[1]
    assert child.parent_span_id == kept.root.span_id
    assert child.failed
    assert child.events[0].attributes["exception.type"] == "ValueError"
    assert child.attributes == {"db.query.text": "INSERT INTO x"}
    assert kept.request_ids == ["r-1"]
    # One of two requests, which are passed on side by side.
    path, headers, _ = elsewhere.got[0]
    assert (path, headers["x-api-key"]) == ("/base/v1/traces", "k")
    assert headers["content-type"] == "application/x-protobuf"
    assert ("content-encoding" in headers) == (compression is Compression.Gzip)
    bodies = [body for _, _, body in elsewhere.got]
    if compression is Compression.Gzip:
        bodies = [gzip.decompress(each) for each in bodies]
    assert any(b"INSERT x" in each for each in bodies)


def record(tracer: trace.Tracer) -> None:
    request_id = {"http.response.header.x-request-id": ["r-1"]}
    with tracer.start_as_current_span(
        "POST /x", kind=trace.SpanKind.SERVER, attributes=request_id
    ), pytest.raises(ValueError, match="no"), tracer.start_as_current_span(
        "INSERT x", kind=trace.SpanKind.CLIENT, attributes={"db.query.text": "INSERT INTO x"}
    ):  # fmt: skip
        raise ValueError("no")


def test_what_is_answered_is_a_message_of_the_protocol(served: Served) -> None:
    _, _, content = served.post(b"", PROTOBUF)
    assert ExportTraceServiceResponse.FromString(content) == ExportTraceServiceResponse()
