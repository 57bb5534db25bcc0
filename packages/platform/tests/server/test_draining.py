"""The end of a process: no request fails, whoever runs it."""

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable
from typing import Any

import httpx2
import psutil
import pytest
from commands import GUNICORN, PLATFORM, TWO_WORKERS
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from service_platform.server.workers import restart_delay

DRAIN = {"DRAIN_DELAY_SECONDS": "0.6", "SHUTDOWN_TIMEOUT_SECONDS": "5"}
ANY_WORKER = {"connection": "close"}
"""The next request has a connection of its own, which any worker may take."""

SERVERS = [
    pytest.param(PLATFORM, id="one process"),
    pytest.param(TWO_WORKERS, id="two workers"),
    pytest.param(GUNICORN, id="gunicorn"),
]


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


@pytest.mark.parametrize("command", SERVERS)
async def test_a_stop_under_load_fails_no_request(start: Callable[..., Any], command: str) -> None:
    running = start(command, WORKERS="2" if "gunicorn" in command else "1", **DRAIN)
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


@pytest.mark.parametrize("command", [SERVERS[0], SERVERS[2]])
async def test_while_draining_it_is_unready_alive_and_still_answers(
    start: Callable[..., Any], command: str
) -> None:
    running = start(command, **(DRAIN | {"DRAIN_DELAY_SECONDS": "3"}))
    async with httpx2.AsyncClient(verify=False, base_url=running.url) as client:
        assert "connection" not in (await client.get("/api/v1/fast")).headers
        running.signal(signal.SIGTERM)
        ready = await unready(client)
        assert ready.json() == {"status": "not_ready", "reason": "draining"}
        assert (await client.get("/health/live")).status_code == 200
        answer = await client.get("/api/v1/fast")
        assert (answer.status_code, answer.headers["connection"]) == (200, "close")


@pytest.mark.parametrize("command", SERVERS[:2])
async def test_a_second_signal_ends_at_once(start: Callable[..., Any], command: str) -> None:
    running = start(command, **(DRAIN | {"DRAIN_DELAY_SECONDS": "60"}))
    async with httpx2.AsyncClient(verify=False, base_url=running.url, timeout=30) as client:
        slow = asyncio.create_task(client.get("/api/v1/slow", params={"seconds": 25}))
        await asyncio.sleep(0.2)
        running.signal(signal.SIGTERM)
        await unready(client)
        running.signal(signal.SIGTERM)
        await asyncio.to_thread(running.wait)
        with contextlib.suppress(httpx2.TransportError):
            assert (await slow).status_code == 503


async def test_requests_that_outlast_the_grace_are_given_up(start: Callable[..., Any]) -> None:
    short = {"DRAIN_DELAY_SECONDS": "0", "SHUTDOWN_TIMEOUT_SECONDS": "0.2"}
    running = start(PLATFORM, **short)
    async with httpx2.AsyncClient(verify=False, base_url=running.url, timeout=30) as client:
        slow = asyncio.create_task(client.get("/api/v1/slow", params={"seconds": 25}))
        await asyncio.sleep(0.2)
        running.signal(signal.SIGTERM)
        response = await slow
        assert (response.status_code, response.headers["retry-after"]) == (503, "1")
        assert await asyncio.to_thread(running.wait) == 0


@pytest.mark.parametrize("command", SERVERS)
async def test_websockets_are_closed_at_the_start_of_a_drain(
    start: Callable[..., Any], command: str
) -> None:
    running = start(command, **(DRAIN | {"DRAIN_DELAY_SECONDS": "1"}))
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


@pytest.mark.parametrize("command", SERVERS)
async def test_event_streams_are_ended_in_order(start: Callable[..., Any], command: str) -> None:
    running = start(command, **DRAIN)
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


@pytest.fixture(scope="module")
def two_workers(start_for_all: Callable[..., Any]) -> Any:
    """A server of two processes, which nobody stops."""
    return start_for_all(TWO_WORKERS, **DRAIN)


def test_metrics_of_one_worker_answer_for_all(two_workers: Any) -> None:
    with httpx2.Client(verify=False, base_url=two_workers.url) as client:
        for _ in range(40):
            client.get("/api/v1/fast", headers=ANY_WORKER)
        labels = 'method="GET",route="/api/v1/fast",status="200"'
        wanted = f"http_server_request_duration_seconds_count{{{labels}}} 40.0"
        # A request is counted when it is over, which its client may know a moment earlier.
        asyncio.run(until(lambda: wanted in client.get("/metrics", headers=ANY_WORKER).text))
        for _ in range(4):
            assert wanted in client.get("/metrics", headers=ANY_WORKER).text


def test_a_dead_worker_is_replaced(two_workers: Any) -> None:
    parent = psutil.Process(two_workers.process.pid)

    def is_worker(child: psutil.Process) -> bool:
        with contextlib.suppress(psutil.NoSuchProcess):
            alive = child.status() != psutil.STATUS_ZOMBIE
            return alive and "spawn_main" in " ".join(child.cmdline())
        return False

    def workers() -> set[int]:
        return {child.pid for child in parent.children() if is_worker(child)}

    asyncio.run(until(lambda: len(workers()) == 2))
    before = workers()
    asyncio.run(asyncio.sleep(1.1))
    psutil.Process(min(before)).kill()
    asyncio.run(until(lambda: len(workers()) == 2 and workers() != before))
    assert httpx2.get(f"{two_workers.url}/api/v1/fast", verify=False).status_code == 200


def test_workers_that_die_again_and_again_are_replaced_more_slowly(
    start: Callable[..., Any],
) -> None:
    running = start(TWO_WORKERS, **DRAIN)

    def die() -> bool:
        with contextlib.suppress(httpx2.TransportError):
            httpx2.get(f"{running.url}/api/v1/die", timeout=5)
        return len(running.events("worker_died")) >= 3

    asyncio.run(until(die, seconds=90))
    delays = [line["replaced_in_seconds"] for line in running.events("worker_died")]
    assert delays[:3] == [0, 1, 2]


def test_restart_delays_are_bounded() -> None:
    delays = [restart_delay(failures) for failures in range(1, 2_000)]
    assert delays[:7] == [0, 1, 2, 4, 8, 16, 30]
    assert set(delays[7:]) == {30}


async def unready(client: httpx2.AsyncClient) -> httpx2.Response:
    for _ in range(500):
        response = await client.get("/health/ready")
        if response.status_code == 503:
            return response
        await asyncio.sleep(0.01)
    pytest.fail("stays ready")


async def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return
        await asyncio.sleep(0.02)
    pytest.fail("did not come true")
