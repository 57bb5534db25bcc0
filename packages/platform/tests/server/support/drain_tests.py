"""How a process ends without failing a request, the same in every way to run a service.

A test file of a way to run a service subclasses `DrainTests` and names its command.
"""

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable
from typing import Any, ClassVar

import httpx2
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

DRAIN = {"DRAIN_DELAY_SECONDS": "0.6", "SHUTDOWN_TIMEOUT_SECONDS": "5"}


async def load(running: Any, stop: asyncio.Event, failures: list[str]) -> int:
    """Request again and again, on one connection for as long as the service keeps it."""
    answered = 0
    async with httpx2.AsyncClient(verify=False, base_url=running.url, timeout=10) as client:
        while not stop.is_set():
            try:
                response = await client.get("/api/v1/fast")
                answered += 1
                if response.status_code != 200:
                    failures.append(str(response.status_code))
            except httpx2.TransportError as error:
                failures.append(repr(error))
    return answered


async def unready(client: httpx2.AsyncClient) -> httpx2.Response:
    for _ in range(500):
        response = await client.get("/health/ready")
        if response.status_code == 503:
            return response
        await asyncio.sleep(0.01)
    pytest.fail("stays ready")


class DrainTests:
    """The end of a service that runs by `command`."""

    command: ClassVar[str]
    environment: ClassVar[dict[str, str]] = {}

    async def test_a_stop_under_load_fails_no_request(self, start: Callable[..., Any]) -> None:
        running = start(self.command, **self.environment, **DRAIN)
        stop, failures = asyncio.Event(), list[str]()
        clients = [asyncio.create_task(load(running, stop, failures)) for _ in range(8)]
        async with httpx2.AsyncClient(verify=False, base_url=running.url, timeout=10) as client:
            slow = asyncio.create_task(client.get("/api/v1/slow", params={"seconds": 1.2}))
            await asyncio.sleep(0.3)
            running.signal(signal.SIGTERM)
            # A balancer learns within the drain delay and sends its traffic elsewhere.
            await asyncio.sleep(0.4)
            stop.set()
            counts = await asyncio.gather(*clients)
            assert (await slow).json() == {"waited": 1.2}
        assert failures == []
        assert sum(counts) > 0
        assert await asyncio.to_thread(running.wait) == 0

    async def test_while_draining_it_is_unready_alive_and_still_answers(
        self, start: Callable[..., Any]
    ) -> None:
        running = start(self.command, **(DRAIN | {"DRAIN_DELAY_SECONDS": "3"}))
        async with httpx2.AsyncClient(verify=False, base_url=running.url) as client:
            assert "connection" not in (await client.get("/api/v1/fast")).headers
            running.signal(signal.SIGTERM)
            ready = await unready(client)
            assert ready.json() == {"status": "not_ready", "reason": "draining"}
            assert (await client.get("/health/live")).status_code == 200
            answer = await client.get("/api/v1/fast")
            assert (answer.status_code, answer.headers["connection"]) == (200, "close")

    async def test_websockets_are_closed_at_the_start_of_a_drain(
        self, start: Callable[..., Any]
    ) -> None:
        running = start(self.command, **(DRAIN | {"DRAIN_DELAY_SECONDS": "1"}))
        at = f"ws://127.0.0.1:{running.port}/api/v1/ws"
        async with connect(at) as first, connect(at) as second:
            for socket in first, second:
                await socket.send("hello")
                assert await socket.recv() == "hello"
            running.signal(signal.SIGTERM)
            began = time.monotonic()
            for socket in first, second:
                with pytest.raises(ConnectionClosed) as closed:
                    await socket.recv()
                assert closed.value.rcvd is not None
                assert closed.value.rcvd.code == 1012
            assert time.monotonic() - began < 0.9
            with pytest.raises(InvalidStatus) as refused:
                await connect(at)
            assert refused.value.response.status_code == 503
        assert await asyncio.to_thread(running.wait) == 0

    async def test_event_streams_are_ended_in_order(self, start: Callable[..., Any]) -> None:
        running = start(self.command, **DRAIN)
        async with (
            httpx2.AsyncClient(base_url=running.url, timeout=10) as client,
            client.stream("GET", "/api/v1/events") as stream,
        ):
            received = b""
            async for part in stream.aiter_bytes():  # raises where the last chunk is missing
                if not received:
                    running.signal(signal.SIGTERM)
                received += part
        assert received.startswith(b"data: tick")
        assert await asyncio.to_thread(running.wait) == 0


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
