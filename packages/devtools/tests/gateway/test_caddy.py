"""Caddy itself with a service behind it: what services are told, what passes, what is answered."""

import asyncio
import gzip
import json
import os
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from websockets.sync.client import connect

from devtools.gateway import places, production_routes, starting
from devtools.gateway.access_log import AccessLog
from devtools.gateway.places import access_log_path, root_certificate_path
from devtools.program import Program
from devtools.state import ServiceState, State
from service_platform.errors.catalogue import NotFound, ServiceUnavailable
from service_testing.ports import free_port

ORDERS = "/api/v1/orders"


async def echo(request: Request) -> Response:
    body = await request.body()
    told = {"path": request.url.path, "headers": dict(request.headers), "bytes": len(body)}
    return JSONResponse(told, headers={"x-request-id": "its-own-id"})


async def compressed(_: Request) -> Response:
    return Response(gzip.compress(b"x" * 5000), headers={"content-encoding": "gzip"})


async def events(_: Request) -> Response:
    async def told() -> AsyncIterator[str]:
        yield "data: first\n\n"
        await asyncio.sleep(60)

    return StreamingResponse(told(), media_type="text/event-stream")


async def answer_back(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text(await websocket.receive_text())
    await websocket.close()


SERVICE = Starlette(
    routes=[
        WebSocketRoute(f"{ORDERS}/socket", answer_back),
        Route(f"{ORDERS}/events", events),
        Route(f"{ORDERS}/compressed", compressed),
        Route("/{path:path}", echo, methods=["GET", "POST"]),
    ]
)


@contextmanager
def serving(port: int) -> Iterator[None]:
    server = uvicorn.Server(
        uvicorn.Config(SERVICE, port=port, log_level="error", timeout_graceful_shutdown=0)
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    yield
    server.should_exit = server.force_exit = True
    thread.join()


@contextmanager
def breaking_off() -> Iterator[int]:
    """A service that takes a request and closes the connection."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                connection.recv(65_536)
                connection.close()

        threading.Thread(target=serve, daemon=True).start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[State]:
    """Before three services that are made up: one answers, one is away, one breaks off."""
    folder = tmp_path_factory.mktemp("gateway")
    orders = free_port()
    with pytest.MonkeyPatch.context() as patch, serving(orders), breaking_off() as broken:
        patch.setenv("DEV_STATE_DIR", str(folder))
        services = {"orders": orders, "auth": free_port(), "users": broken}
        routes = [production_routes.Route(f"/api/v1/{name}", False, name) for name in services]
        patch.setattr(starting, "production_routes", lambda: routes)
        state = State(
            pid=1,
            services={name: ServiceState(port=port) for name, port in services.items()},
            gateway=ServiceState(port=free_port()),
            page=ServiceState(port=free_port()),
            https_port=free_port(),
        )
        caddy, _ = starting.programs(state)
        with running(caddy, folder):
            yield state


@contextmanager
def running(program: Program, folder: Path) -> Iterator[None]:
    with (folder / "caddy.out").open("wb") as output:
        process = subprocess.Popen(
            program.command,
            env=dict(program.environment),
            stdout=output,
            stderr=output,
            cwd=folder,
        )
    deadline = time.monotonic() + 20
    while not answers(program):
        assert process.poll() is None, (folder / "caddy.out").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    yield
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0


def answers(program: Program) -> bool:
    try:
        return asked(program.port, program.ready_path).status == 200
    except OSError:
        return False


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Message
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def asked(
    port: int, path: str, method: str = "GET", body: bytes | None = None, **headers: str
) -> Answer:
    """The answer to a request whose path is sent as it is written."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    with closing(HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request(method, path, body, sent)
        with connection.getresponse() as answer:
            return Answer(answer.status, answer.headers, answer.read())


def port_of(state: State) -> int:
    assert state.gateway is not None
    return state.gateway.port


def test_a_service_is_told_of_the_client_and_not_what_strangers_say(gateway: State) -> None:
    port = port_of(gateway)
    told = asked(
        port,
        f"{ORDERS}/1?q=2",
        host=f"localhost:{port}",
        x_forwarded_for="9.9.9.9",
        x_forwarded_host="evil.example",
        x_forwarded_proto="https",
        x_forwarded_prefix="/evil",
    ).json()
    assert told["path"] == f"{ORDERS}/1"
    forwarded = {
        name: value for name, value in told["headers"].items() if name.startswith("x-forwarded-")
    }
    assert forwarded == {
        "x-forwarded-for": "127.0.0.1",
        "x-forwarded-host": f"localhost:{port}",
        "x-forwarded-proto": "http",
    }


@pytest.mark.parametrize(
    ("path", "inside"),
    [
        ("/docs/orders", "/docs"),
        ("/docs/orders/redoc", "/redoc"),
        ("/docs/orders/docs/assets/1/a.js", "/docs/assets/1/a.js"),
    ],
)
def test_documentation_pages_are_told_of_their_prefix(
    gateway: State, path: str, inside: str
) -> None:
    told = asked(port_of(gateway), path, x_forwarded_prefix="/evil").json()
    assert (told["path"], told["headers"]["x-forwarded-prefix"]) == (inside, "/docs/orders")


@pytest.mark.parametrize(
    "path", ["/metrics", "/docs/orders/../../metrics", f"{ORDERS}/%2e%2e/health"]
)
def test_what_production_keeps_inside_is_not_reached(gateway: State, path: str) -> None:
    answer = asked(port_of(gateway), path)
    assert (answer.status, answer.json()["error"]) == (404, "not_found")


def test_bodies_pass(gateway: State) -> None:
    body = os.urandom(3_000_000)
    assert asked(port_of(gateway), ORDERS, "POST", body).json()["bytes"] == len(body)


def test_compression_is_the_services(gateway: State) -> None:
    answer = asked(port_of(gateway), f"{ORDERS}/compressed", accept_encoding="gzip")
    assert answer.headers["content-encoding"] == "gzip"
    assert gzip.decompress(answer.body) == b"x" * 5000
    assert "content-encoding" not in asked(port_of(gateway), ORDERS, accept_encoding="gzip").headers
    with closing(HTTPConnection("127.0.0.1", port_of(gateway), timeout=10)) as connection:
        connection.putrequest("GET", ORDERS, skip_accept_encoding=True)
        connection.endheaders()
        with connection.getresponse() as plain:
            assert "accept-encoding" not in json.load(plain)["headers"]


def test_server_sent_events_come_at_once(gateway: State) -> None:
    with closing(HTTPConnection("127.0.0.1", port_of(gateway), timeout=10)) as connection:
        connection.request("GET", f"{ORDERS}/events")
        with connection.getresponse() as answer:
            assert answer.readline() == b"data: first\n"


def test_websockets_pass(gateway: State) -> None:
    with connect(f"ws://127.0.0.1:{port_of(gateway)}{ORDERS}/socket") as socket_:
        socket_.send("hello")
        assert socket_.recv(timeout=10) == "hello"


@pytest.mark.parametrize(
    ("path", "status", "error", "says"),
    [
        ("/unknown", 404, "not_found", "as in production"),
        ("/api/v1/auth/me", 503, "service_unavailable", "./dev logs auth"),
        ("/", 503, "service_unavailable", "The front page does not answer"),
        ("/api/v1/users/me", 502, "bad_gateway", "ended the connection without an answer"),
    ],
)
def test_what_the_gateway_answers_is_a_problem(
    gateway: State, path: str, status: int, error: str, says: str
) -> None:
    answer = asked(port_of(gateway), path)
    problem = answer.json()
    assert answer.status == problem["status"] == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["error"] == error
    assert says in problem["detail"]
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert problem["instance"] == f"urn:uuid:{problem['request_id']}"
    kind = {404: NotFound, 503: ServiceUnavailable}.get(status)
    if kind is not None:
        own = json.loads(kind(problem["detail"]).body(base_url="/problems", request_id="x"))
        same = {"instance": problem["instance"], "request_id": problem["request_id"]}
        assert problem == own | same


@pytest.mark.parametrize("path", ["/", ORDERS, "/dev/overview.json", "/docs/orders"])
def test_another_host_is_not_answered(gateway: State, path: str) -> None:
    answer = asked(port_of(gateway), path, host="evil.example")
    assert (answer.status, answer.json()["error"]) == (421, "misdirected_request")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:1", "[::1]:8000"])
def test_names_of_this_machine_are_answered(gateway: State, host: str) -> None:
    assert asked(port_of(gateway), ORDERS, host=host).status == 200


def test_https_by_the_authority_that_is_told(gateway: State) -> None:
    trusting = ssl.create_default_context(cafile=root_certificate_path())
    for name in ("localhost", "127.0.0.1"):
        port = gateway.https_port
        with closing(HTTPSConnection(name, port, timeout=10, context=trusting)) as connection:
            connection.request("GET", ORDERS)
            with connection.getresponse() as answer:
                assert json.load(answer)["headers"]["x-forwarded-proto"] == "https"
    for key in places.storage_path().rglob("*.key"):
        assert key.stat().st_mode & 0o077 == 0


def test_requests_are_logged_without_what_is_secret(gateway: State) -> None:
    log = AccessLog(access_log_path())
    log.newest_first()
    port = port_of(gateway)
    path = f"{ORDERS}/%3Cb%3E?token=secret"
    asked(port, path, authorization="Bearer secret", cookie="a=secret", x_api_key="secret")
    asked(port, "/nowhere?token=secret")
    asked(port, "/dev/ready")
    deadline = time.monotonic() + 10
    while "/nowhere" not in paths(found := log.newest_first()):
        assert time.monotonic() < deadline, found
        time.sleep(0.02)
    assert paths(found)[:2] == ["/nowhere", f"{ORDERS}/%3Cb%3E"]
    assert found[1]["service"] == "orders"
    assert found[1]["request_id"] == "its-own-id"
    assert found[1]["status"] == 200
    assert found[0]["service"] == "gateway"
    assert len(found[0]["request_id"]) == 36
    assert b"secret" not in access_log_path().read_bytes()
    assert access_log_path().stat().st_mode & 0o077 == 0
    assert "/dev/ready" not in paths(found)


def paths(requests: list[dict[str, Any]]) -> list[str]:
    return [each["path"] for each in requests]


def test_nothing_is_written_outside_of_its_folder(gateway: State) -> None:
    written = {path.name for path in places.folder().parent.iterdir()}
    assert written == {"gateway", "caddy.out"}
