"""Streams, downloads and work after the response, which take longer than a response may."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn
from fastapi import BackgroundTasks
from fastapi.responses import FileResponse, StreamingResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel

from service_platform.app import ServiceApp
from service_platform.context import current_context
from service_platform.middleware import timeout
from service_platform.server.runner import configure
from service_platform.settings import PlatformSettings

LIMIT = 0.2
"""Seconds until a response must have started."""
LONG = 0.7


class Line(BaseModel):
    number: int


done: list[str] = []


def application(*, acceleration: bool) -> ServiceApp:
    settings = PlatformSettings(
        _env_file=None,
        environment="test",
        rate_limit_enabled=False,
        request_timeout_seconds=LIMIT,
        acceleration=acceleration,
    )
    app = ServiceApp(settings=settings)
    add_streams(app)
    add_work(app)
    return app


def add_streams(app: ServiceApp) -> None:
    @app.get("/events", response_class=EventSourceResponse)
    async def events() -> AsyncIterator[ServerSentEvent]:
        for number in range(2):
            yield ServerSentEvent(data=number)
            await asyncio.sleep(LONG / 2)

    @app.get("/lines")
    async def lines() -> AsyncIterator[Line]:
        for number in range(2):
            yield Line(number=number)
            await asyncio.sleep(LONG / 2)

    @app.get("/late")
    async def late() -> StreamingResponse:
        async def content() -> AsyncIterator[bytes]:
            await asyncio.sleep(LONG)
            yield b"x" * 5000

        return StreamingResponse(content(), media_type="text/plain")

    @app.get("/file")
    async def file() -> FileResponse:
        return FileResponse(large_file)


def add_work(app: ServiceApp) -> None:
    @app.get("/background")
    async def background(tasks: BackgroundTasks) -> str:
        async def work() -> None:
            await asyncio.sleep(LONG)
            context = current_context()
            assert context is not None
            done.append(context.request_id)

        tasks.add_task(work)
        return "accepted"

    @app.get("/failing-background")
    async def failing_background(tasks: BackgroundTasks) -> str:
        def work() -> None:
            raise ZeroDivisionError

        tasks.add_task(work)
        return "accepted"

    @app.get("/thread")
    @timeout(0.1)
    def thread() -> str:
        time.sleep(0.3)
        return "late"


large_file: Path


@contextmanager
def serving(app: ServiceApp) -> Iterator[str]:
    """The production server in a thread of this process."""
    config = configure(app, app)
    config.port = 0
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        deadline = time.monotonic() + 20
        while not server.started and time.monotonic() < deadline:
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(timeout=20)
        assert not thread.is_alive()


@pytest.fixture(scope="module", params=[True, False], ids=["accelerated", "plain"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    global large_file  # noqa: PLW0603 - one file for the module
    large_file = tmp_path_factory.mktemp("large") / "file"
    large_file.write_bytes(b"0123456789" * 800_000)
    with serving(application(acceleration=request.param)) as address:
        yield address


@pytest.mark.parametrize("accepted", ["identity", "gzip"])
@pytest.mark.parametrize("path", ["/events", "/lines"])
def test_a_stream_arrives_piece_by_piece_and_may_take_long(
    url: str, path: str, accepted: str
) -> None:
    arrived: list[float] = []
    content = ""
    with httpx2.stream("GET", url + path, headers={"accept-encoding": accepted}) as response:
        for text in response.iter_text():
            arrived.append(time.monotonic())
            content += text
    assert response.status_code == 200
    assert content.count("0") == content.count("1") == 1
    assert arrived[-1] - arrived[0] >= LONG / 4


@pytest.mark.parametrize("accepted", ["identity", "gzip"])
def test_the_time_limit_ends_when_the_response_starts(url: str, accepted: str) -> None:
    began = time.monotonic()
    with httpx2.stream("GET", url + "/late", headers={"accept-encoding": accepted}) as response:
        started = time.monotonic() - began
        content = response.read()
    assert started < LONG
    assert (response.status_code, len(content)) == (200, 5000)


def test_work_after_the_response_takes_as_long_as_it_needs(url: str) -> None:
    done.clear()
    began = time.monotonic()
    answer = httpx2.get(url + "/background", headers={"x-request-id": "of-the-work"})
    assert (answer.json(), time.monotonic() - began < LONG) == ("accepted", True)
    deadline = began + 20
    while not done and time.monotonic() < deadline:
        time.sleep(0.02)
    assert done == ["of-the-work"]


def test_work_that_fails_changes_nothing_about_the_response(url: str) -> None:
    assert httpx2.get(url + "/failing-background").json() == "accepted"
    assert httpx2.get(url + "/health/live").status_code == 200


def test_an_endpoint_in_a_thread_is_given_up_too(url: str) -> None:
    answer = httpx2.get(url + "/thread")
    assert answer.status_code == 504


def test_a_large_file_is_sent_whole(url: str) -> None:
    with httpx2.stream("GET", url + "/file") as response:
        size = sum(len(part) for part in slowly(response.iter_bytes(500_000)))
    assert size == 8_000_000
    part = httpx2.get(url + "/file", headers={"range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, b"0123456789")


def slowly(parts: Iterator[bytes]) -> Iterator[bytes]:
    for part in parts:
        time.sleep(LIMIT / 4)
        yield part


def test_requests_are_counted_when_their_response_is_complete(url: str) -> None:
    def seconds_of(route: str) -> float:
        name = (
            f'http_server_request_duration_seconds_sum{{method="GET",route="{route}",status="200"}}'
        )
        lines: list[Any] = httpx2.get(url + "/metrics").text.splitlines()
        return next((float(line.split()[-1]) for line in lines if line.startswith(name)), 0.0)

    before = seconds_of("/background")
    httpx2.get(url + "/background")
    assert seconds_of("/background") - before < LONG
