"""Passing on what a receiver got, to a viewer that may be away, slow or unwilling."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from devtools.telemetry import forwarding
from devtools.telemetry.forwarding import Forwarder

HEADERS = {"content-type": "application/json", "host": "old", "content-length": "99"}


class Viewer:
    """A server that reads requests and answers with a status, or holds its answers back."""

    def __init__(self) -> None:
        self.status = 200
        self.requests: list[bytes] = []
        self.came = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next(
                    int(line.partition(b":")[2])
                    for line in head.split(b"\r\n")
                    if line.lower().startswith(b"content-length:")
                )
                self.requests.append(head + await reader.readexactly(length))
                self.came.set()
                await self.may_answer.wait()
                writer.write(b"HTTP/1.1 %d x\r\ncontent-length: 0\r\n\r\n" % self.status)
        except asyncio.IncompleteReadError:
            writer.close()

    @asynccontextmanager
    async def listening(self, port: int) -> AsyncIterator[None]:
        server = await asyncio.start_server(self.handle, "127.0.0.1", port)
        try:
            yield
        finally:
            server.close()


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def port(free_port: Callable[[], int]) -> int:
    return free_port()


@pytest.fixture
async def forwarder(port: int, told: list[str]) -> AsyncIterator[Forwarder]:
    made = Forwarder(f"http://me:secret@127.0.0.1:{port}/otlp", told.append)
    made.start()
    yield made
    await made.stop()


async def test_a_body_is_sent_as_it_was(forwarder: Forwarder, port: int) -> None:
    viewer = Viewer()
    async with viewer.listening(port):
        forwarder.put("/v1/traces", HEADERS, b"\0\xff body")
        await asyncio.wait_for(viewer.came.wait(), 10)
    head, _, body = viewer.requests[0].partition(b"\r\n\r\n")
    assert body == b"\0\xff body"
    assert head.startswith(b"POST /otlp/v1/traces HTTP/1.1")
    assert b"content-type: application/json" in head.lower()
    assert b"content-length: 99" not in head.lower()
    assert b"host: old" not in head.lower()


async def test_a_viewer_that_is_away_is_told_once_and_so_is_its_return(
    forwarder: Forwarder, port: int, told: list[str]
) -> None:
    viewer = Viewer()
    for _ in range(3):
        forwarder.put("/v1/traces", HEADERS, b"lost")
    await forwarder._queue.join()
    place = f"http://127.0.0.1:{port}/otlp"
    assert told == [f"{place} does not answer; spans are kept here all the same"]
    async with viewer.listening(port):
        for _ in range(2):
            forwarder.put("/v1/traces", HEADERS, b"found")
        await forwarder._queue.join()
    assert told[1:] == [f"{place} takes spans again"]
    assert [each.rpartition(b"\n")[2] for each in viewer.requests] == [b"found", b"found"]


async def test_a_viewer_that_refuses_is_told_once(
    forwarder: Forwarder, port: int, told: list[str]
) -> None:
    viewer = Viewer()
    viewer.status = 404
    async with viewer.listening(port):
        for _ in range(2):
            forwarder.put("/v1/logs", HEADERS, b"x")
        await forwarder._queue.join()
    assert told == [f"http://127.0.0.1:{port}/otlp answers 404 to POST /v1/logs"]


@pytest.mark.parametrize(("requests", "size"), [(3, 1000), (1000, 12)])
async def test_a_slow_viewer_holds_up_nobody(
    port: int, told: list[str], monkeypatch: pytest.MonkeyPatch, requests: int, size: int
) -> None:
    """Neither more requests nor more bytes than allowed wait for it."""
    monkeypatch.setattr(forwarding, "QUEUE_REQUESTS", requests)
    monkeypatch.setattr(forwarding, "QUEUE_BYTES", size)
    forwarder = Forwarder(f"http://127.0.0.1:{port}", told.append)
    forwarder.start()
    viewer = Viewer()
    viewer.may_answer.clear()
    async with viewer.listening(port):
        for _ in range(20):
            forwarder.put("/v1/traces", HEADERS, b"1234")
        assert len(told) == 1
        assert "takes too long; some of what is for it is lost" in told[0]
        viewer.may_answer.set()
        await forwarder._queue.join()
    assert len(viewer.requests) == 3
    assert forwarder._bytes == 0
    await forwarder.stop()


async def test_the_end_does_not_wait_long_for_a_slow_viewer(
    port: int, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forwarding, "LAST_SECONDS", 0.2)
    viewer = Viewer()
    viewer.may_answer.clear()
    forwarder = Forwarder(f"http://127.0.0.1:{port}", told.append)
    forwarder.start()
    async with viewer.listening(port):
        forwarder.put("/v1/traces", HEADERS, b"x")
        await asyncio.wait_for(viewer.came.wait(), 10)
        async with asyncio.timeout(2):
            await forwarder.stop()
        viewer.may_answer.set()
