"""How a process ends without failing a request, the same in every way to run a service.

A test file of a way to run a service subclasses `DrainTests` and names its command.
"""

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import httpx2
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

DRAIN = {"DRAIN_DELAY_SECONDS": "0.6", "SHUTDOWN_TIMEOUT_SECONDS": "5"}
LONG_DRAIN = {"DRAIN_DELAY_SECONDS": "2", "SHUTDOWN_TIMEOUT_SECONDS": "5"}
SLOW_SECONDS = 2.6
"""Longer than the drain delay: the request is still in flight when connections are closed."""


@dataclass
class Drain:
    """What the clients of one server have seen of its end.

    Attributes:
        answered: requests of the load, which went on into the drain.
        failures: what was wrong with others of them.
        before: the answer to a request before the end.
        ready: the first answer that said that the server is not.
        alive: of `/health/live` behind that.
        during: the answer to a request behind that.
        slow: the answer to a request from before the drain, in whose time the drain delay ended.
        closed: how each WebSocket was closed, and seconds since the signal.
        refused: status of a WebSocket's handshake during the drain.
        events: what came of an endless stream of events, to its orderly end.
        status: of the process.
    """

    answered: int = 0
    failures: list[str] = field(default_factory=list)
    before: httpx2.Response | None = None
    ready: httpx2.Response | None = None
    alive: httpx2.Response | None = None
    during: httpx2.Response | None = None
    slow: httpx2.Response | None = None
    closed: list[tuple[int | None, float]] = field(default_factory=list)
    refused: int | None = None
    events: bytes | httpx2.TransportError = b""
    status: int | None = None


async def load(running: Any, stop: asyncio.Event, drain: Drain) -> None:
    """Request again and again, on one connection for as long as the service keeps it."""
    async with httpx2.AsyncClient(verify=False, base_url=running.url, timeout=10) as client:
        while not stop.is_set():
            try:
                response = await client.get("/api/v1/fast")
                drain.answered += 1
                if response.status_code != 200:
                    drain.failures.append(str(response.status_code))
            except httpx2.TransportError as error:
                drain.failures.append(repr(error))


async def unready(client: httpx2.AsyncClient) -> httpx2.Response:
    for _ in range(500):
        response = await client.get("/health/ready")
        if response.status_code == 503:
            return response
        await asyncio.sleep(0.01)
    pytest.fail("stays ready")


async def read_events(running: Any, begun: asyncio.Event, drain: Drain) -> None:
    """Read events until they end; where the last chunk is missing, that is an error."""
    received = b""
    async with (
        httpx2.AsyncClient(base_url=running.url, timeout=10) as client,
        client.stream("GET", "/api/v1/events") as stream,
    ):
        try:
            async for part in stream.aiter_bytes():
                received += part
                begun.set()
            drain.events = received
        except httpx2.TransportError as error:
            drain.events = error


async def until_closed(socket: ClientConnection, drain: Drain, began: float) -> None:
    with pytest.raises(ConnectionClosed) as closed:
        await socket.recv()
    code = closed.value.rcvd.code if closed.value.rcvd is not None else None
    drain.closed.append((code, time.monotonic() - began))


async def refusal(at: str) -> int | None:
    try:
        async with connect(at):
            return None
    except InvalidStatus as refused:
        return refused.response.status_code


async def drained(running: Any) -> Drain:
    """End a server that has much to do."""
    drain, stop, begun = Drain(), asyncio.Event(), asyncio.Event()
    at = f"ws://127.0.0.1:{running.port}/api/v1/ws"
    async with (
        httpx2.AsyncClient(verify=False, base_url=running.url, timeout=10) as client,
        connect(at) as first,
        connect(at) as second,
        asyncio.TaskGroup() as beside,
    ):
        for socket in first, second:
            await socket.send("hello")
            assert await socket.recv() == "hello"
        beside.create_task(read_events(running, begun, drain))
        await begun.wait()
        drain.before = await client.get("/api/v1/fast")
        for _ in range(8):
            beside.create_task(load(running, stop, drain))
        slow = beside.create_task(client.get("/api/v1/slow", params={"seconds": SLOW_SECONDS}))
        await asyncio.sleep(0.3)
        running.signal(signal.SIGTERM)
        began = time.monotonic()
        closed = [
            beside.create_task(until_closed(socket, drain, began)) for socket in (first, second)
        ]
        drain.ready = await unready(client)
        drain.alive = await client.get("/health/live")
        drain.during = await client.get("/api/v1/fast")
        await asyncio.wait(closed, timeout=1.0)
        drain.refused = await refusal(at)
        # A balancer learns within the drain delay and sends its traffic elsewhere.
        await asyncio.sleep(0.4)
        stop.set()
        drain.slow = await slow
    drain.status = await asyncio.to_thread(running.wait)
    return drain


class DrainTests:
    """The end of a service that runs by `command`; the tests look at one."""

    command: ClassVar[str]
    environment: ClassVar[dict[str, str]] = {}

    @pytest.fixture(scope="class")
    @classmethod
    def drain(cls, start_for_all: Callable[..., Any]) -> Drain:
        return asyncio.run(drained(start_for_all(cls.command, **cls.environment, **LONG_DRAIN)))

    def test_a_stop_under_load_fails_no_request(self, drain: Drain) -> None:
        assert drain.failures == []
        assert drain.answered > 0
        assert drain.slow is not None
        assert drain.slow.json() == {"waited": SLOW_SECONDS}

    def test_it_ends_with_status_0(self, drain: Drain) -> None:
        assert drain.status == 0

    def test_while_draining_it_is_unready_alive_and_still_answers(self, drain: Drain) -> None:
        assert drain.before is not None
        assert "connection" not in drain.before.headers
        assert drain.ready is not None
        assert drain.ready.json() == {"status": "not_ready", "reason": "draining"}
        assert drain.alive is not None
        assert drain.alive.status_code == 200
        assert drain.during is not None
        assert drain.during.status_code == 200
        assert drain.during.headers["connection"] == "close"

    def test_websockets_are_closed_at_the_start_of_a_drain(self, drain: Drain) -> None:
        assert [code for code, _ in drain.closed] == [1012, 1012]
        assert max(seconds for _, seconds in drain.closed) < 0.9
        assert drain.refused == 503

    def test_event_streams_are_ended_in_order(self, drain: Drain) -> None:
        assert isinstance(drain.events, bytes), drain.events
        assert drain.events.startswith(b"data: tick")


class SecondSignalTests:
    """A second signal; gunicorn's arbiter takes none while it stops."""

    command: ClassVar[str]

    async def test_a_second_signal_ends_at_once(self, start: Callable[..., Any]) -> None:
        running = start(self.command, **(DRAIN | {"DRAIN_DELAY_SECONDS": "60"}))
        async with httpx2.AsyncClient(verify=False, base_url=running.url, timeout=30) as client:
            slow = asyncio.create_task(client.get("/api/v1/slow", params={"seconds": 25}))
            await asyncio.sleep(0.2)
            running.signal(signal.SIGTERM)
            await unready(client)
            running.signal(signal.SIGTERM)
            await asyncio.to_thread(running.wait)
            with contextlib.suppress(httpx2.TransportError):
                assert (await slow).status_code == 503
