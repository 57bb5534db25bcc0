"""Server-sent events over a socket: FastAPI's own and sse-starlette's.

Each event has to arrive while the next one does not exist yet, and the generator has to end when
the client goes.
"""

import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field

import anyio
import httpx2
import pytest
from fastapi import FastAPI
from fastapi.sse import EventSourceResponse, ServerSentEvent
from sse_starlette.event import ServerSentEvent as LibraryEvent
from sse_starlette.sse import EventSourceResponse as LibraryResponse


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
