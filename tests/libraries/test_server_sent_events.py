"""Server-sent events over a socket: FastAPI's own and sse-starlette's.

Each event has to arrive while the next one does not exist yet, and the generator has to end when
the client goes.
"""

import signal
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import httpx2
import pytest
from applications_under_test import FASTAPI
from fastapi import FastAPI
from fastapi.sse import EventSourceResponse, ServerSentEvent
from sse_starlette.event import ServerSentEvent as LibraryEvent
from sse_starlette.sse import EventSourceResponse as LibraryResponse

from service_testing import programs
from service_testing.ports import HOST, free_port
from service_testing.programs import ForkedProcess


@dataclass
class Source:
    """Makes an event each time it is allowed to, and tells when it has ended."""

    allowed: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    ended: threading.Event = field(default_factory=threading.Event)

    async def numbers(self) -> AsyncIterator[int]:
        try:
            for number in range(1, 4):
                while not self.allowed.acquire(blocking=False):  # noqa: ASYNC110 - by a thread
                    await anyio.sleep(0.005)
                yield number
        finally:
            self.ended.set()


def fastapi_route(app: FastAPI, source: Source) -> None:
    @app.get("/events", response_class=EventSourceResponse)
    async def events() -> AsyncIterator[ServerSentEvent]:
        async for number in source.numbers():
            yield ServerSentEvent(data=number, event="count", id=str(number))


def library_route(app: FastAPI, source: Source) -> None:
    async def events() -> AsyncIterator[LibraryEvent]:
        async for number in source.numbers():
            yield LibraryEvent(data=number, event="count", id=str(number), sep="\n")

    @app.get("/events")
    async def stream() -> LibraryResponse:
        return LibraryResponse(events(), sep="\n")


@pytest.fixture(params=[fastapi_route, library_route])
def add_route(request: pytest.FixtureRequest) -> Callable[[FastAPI, Source], None]:
    add: Callable[[FastAPI, Source], None] = request.param
    return add


def next_event(lines: Iterator[str]) -> dict[str, str]:
    event: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(": ")
            event[name] = value
        elif event:
            break
    return event


def test_events_arrive_one_by_one(
    application: Callable[..., FastAPI],
    serve: Callable[[FastAPI], str],
    add_route: Callable[[FastAPI, Source], None],
) -> None:
    app, source = application(), Source()
    add_route(app, source)
    with httpx2.stream("GET", serve(app) + "/events", timeout=20) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] in {"no-cache", "no-store"}
        assert answer.headers["x-accel-buffering"] == "no"
        lines = answer.iter_lines()
        for number in ("1", "2", "3"):
            source.allowed.release()
            assert next_event(lines) == {"event": "count", "data": number, "id": number}
        assert next_event(lines) == {}


def test_the_generator_ends_when_the_client_goes(
    application: Callable[..., FastAPI],
    serve: Callable[[FastAPI], str],
    add_route: Callable[[FastAPI, Source], None],
) -> None:
    app, source = application(), Source()
    add_route(app, source)
    with httpx2.stream("GET", serve(app) + "/events", timeout=20) as answer:
        lines = answer.iter_lines()
        source.allowed.release()
        assert next_event(lines)["data"] == "1"
        assert not source.ended.is_set()
    assert source.ended.wait(timeout=10)


@pytest.fixture
def running(kind: str, tmp_path: Path) -> Iterator[tuple[str, ForkedProcess]]:
    """The service of `event_stream_service.py`, run by uvicorn or by the platform's server."""
    port = str(free_port())
    options = ["--host", HOST, "--port", port, "event_stream_service:create_app"]
    module = "service_platform.server"
    if kind == FASTAPI:
        module, options = "uvicorn", ["--factory", "--log-level=warning", *options]
    with (tmp_path / "log").open("wb") as log:
        process = programs.start(
            module,
            options,
            environment={"KIND": kind, "ENVIRONMENT": "test"},
            folder=Path(__file__).parent / "support",
            output=log,
        )
    try:
        yield f"http://{HOST}:{port}", process
    finally:
        process.kill()
        process.wait()


def test_a_stream_of_the_library_ends_when_the_server_is_told_to_stop(
    kind: str,
    running: tuple[str, ForkedProcess],
) -> None:
    url, process = running
    deadline = time.monotonic() + 60
    while True:
        try:
            assert httpx2.get(url + "/ready").status_code == 200
        except httpx2.TransportError:
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.05)
        else:
            break
    with httpx2.stream("GET", url + "/ticks", timeout=20) as answer:
        lines = answer.iter_lines()
        assert next_event(lines) == {"data": "1"}
        process.send_signal(signal.SIGTERM)
        try:
            while next_event(lines):
                assert time.monotonic() < deadline
        except httpx2.RemoteProtocolError:
            assert kind == FASTAPI  # without the platform's server the stream is cut off
    # uvicorn ends by the signal itself, the platform's server with status 0.
    assert process.wait(timeout=10) in {0, -signal.SIGTERM}
