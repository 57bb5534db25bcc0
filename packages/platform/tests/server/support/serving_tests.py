"""What a service does on the wire, the same in every way to run it.

A test file of a way to run a service subclasses `ServingTests` and names its command.
"""

import asyncio
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import httpx2
import pytest
from raw_http import problem, split_head, statuses
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

QUICK = {
    "KEEP_ALIVE_SECONDS": "0.5",
    "REQUEST_HEAD_TIMEOUT_SECONDS": "0.5",
    "TRANSFER_TIMEOUT_SECONDS": "1",
    "CORS_ORIGINS": "https://app.example",
}
ORIGIN = b"origin: https://app.example\r\n"


def request(target: str, *lines: bytes, method: bytes = b"GET") -> bytes:
    head = b"%b %b HTTP/1.1\r\nhost: x\r\n" % (method, target.encode())
    return head + b"".join(lines) + b"\r\n"


def exchange(running: Any, *parts: bytes) -> bytes:
    """Send; everything the server says until it closes."""
    answer = b""
    with socket.create_connection(("127.0.0.1", running.port), timeout=10) as connection:
        for part in parts:
            connection.sendall(part)
        while data := connection.recv(65_536):
            answer += data
    return answer


def metric(running: Any, name: str) -> float:
    text = httpx2.get(f"{running.url}/metrics", headers={"connection": "close"}).text
    for line in text.splitlines():
        if line.startswith(f"{name} "):
            return float(line.rpartition(" ")[2])
    return 0.0


def eventually(condition: Callable[[], Any], seconds: float = 5.0) -> Any:
    end = time.monotonic() + seconds
    while not (result := condition()) and time.monotonic() < end:
        time.sleep(0.05)
    return result


class ServingTests:
    """Requests, refusals, faults and WebSockets of a service that runs by `command`."""

    command: ClassVar[str]
    environment: ClassVar[dict[str, str]] = {}

    @pytest.fixture(scope="class")
    @classmethod
    def running(cls, start_for_all: Callable[..., Any]) -> Iterator[Any]:
        """The server, which the tests of a class share."""
        server = start_for_all(cls.command, **QUICK, **cls.environment)
        yield server
        server.process.terminate()

    def test_garbage_behind_a_request_is_answered_after_it(self, running: Any) -> None:
        assert statuses(exchange(running, request("/version") + b"garbage\r\n\r\n")) == [200, 400]

    def test_half_a_head_behind_a_slow_request_is_answered_after_it(self, running: Any) -> None:
        slow = request("/api/v1/slow?seconds=1")
        assert statuses(exchange(running, slow + b"GET / HTTP/1.1\r\nhost:")) == [200, 408]

    def test_an_empty_line_behind_a_request_keeps_nothing_open(self, running: Any) -> None:
        began = time.monotonic()
        assert statuses(exchange(running, request("/version") + b"\r\n")) == [200]
        assert time.monotonic() - began < 5

    def test_many_pipelined_requests_are_answered(self, running: Any) -> None:
        one = request("/version", b"x: " + b"y" * 500 + b"\r\n")
        last = request("/version", b"connection: close\r\n")
        assert statuses(exchange(running, one * 300 + last)) == [200] * 301

    def test_trailers_admit_nobody(self, running: Any) -> None:
        head = request("/api/v1/echo", b"transfer-encoding: chunked\r\n", method=b"POST")
        trailers = b"authorization: Bearer T\r\nx-request-id: chosen\r\n"
        answer = exchange(running, head + b"2\r\nab\r\n0\r\n" + trailers + b"\r\n")
        assert statuses(answer) == [200]
        assert b'{"size":2,"headers":["host","transfer-encoding"]}' in answer
        assert b"chosen" not in answer

    def test_a_body_behind_an_upgrade_is_no_request(self, running: Any) -> None:
        body = request("/version")
        head = request(
            "/api/v1/echo",
            b"upgrade: h2c\r\nconnection: upgrade\r\ncontent-length: %d\r\n" % len(body),
            method=b"POST",
        )
        answer = exchange(running, head + body)
        assert statuses(answer) == [200]
        assert b'"size":%d' % len(body) in answer

    @pytest.mark.parametrize(
        ("sent", "status"),
        [
            pytest.param(request("/version", ORIGIN, b"host: y\r\n"), 400, id="400"),
            pytest.param(request("/version", ORIGIN)[:-2] + b"x", 408, id="408"),
            pytest.param(request("/" + "x" * 70_000, ORIGIN), 414, id="414"),
            pytest.param(request("/version", ORIGIN, b"x: " + b"x" * 70_000), 431, id="431"),
            pytest.param(request("/version", ORIGIN, method=b"FOO"), 501, id="501"),
        ],
    )
    def test_what_is_refused_is_answered_counted_and_logged_like_any_request(
        self, running: Any, sent: bytes, status: int
    ) -> None:
        method = "_OTHER" if status == 501 else "GET"
        labels = f'method="{method}",route="unmatched",status="{status}"'
        before = metric(running, f"http_server_request_duration_seconds_count{{{labels}}}")
        answer = exchange(running, sent)
        assert problem(answer)["status"] == status
        _, headers = split_head(answer.partition(b"\r\n\r\n")[0])
        if status != 414:  # its header fields stand behind what was read
            assert headers["access-control-allow-origin"] == "https://app.example"
        after = metric(running, f"http_server_request_duration_seconds_count{{{labels}}}")
        assert after == before + 1
        lines = eventually(lambda: [
            line for line in running.events("request")
            if line["request_id"] == headers["x-request-id"]
        ])  # fmt: skip
        assert [line["http.response.status_code"] for line in lines] == [status]

    def test_a_fault_of_the_service_is_logged_once_and_keeps_the_connection(
        self, running: Any
    ) -> None:
        with httpx2.Client(base_url=running.url, headers={"x-request-id": "once"}) as client:
            broken = client.get("/api/v1/broken")
            assert broken.status_code == 500
            assert "connection" not in broken.headers
            assert client.get("/api/v1/fast").status_code == 200
        assert eventually(lambda: running.events("unhandled_error"))
        time.sleep(0.2)
        assert (
            len([1 for line in running.events("unhandled_error") if line["request_id"] == "once"])
            == 1
        )
        assert "Exception in ASGI application" not in running.log.read_text()

    def test_a_fault_in_a_stream_is_seen_by_its_reader(self, running: Any) -> None:
        answer = exchange(running, request("/api/v1/broken-stream"))
        assert answer.endswith(b"5\r\nfirst\r\n")
        with (
            pytest.raises(httpx2.RemoteProtocolError),
            httpx2.Client(base_url=running.url) as client,
        ):
            client.get("/api/v1/broken-stream")

    def test_old_clients_get_a_stream_without_chunks(self, running: Any) -> None:
        answer = exchange(running, b"GET /api/v1/broken-stream HTTP/1.0\r\n\r\n")
        head, _, content = answer.partition(b"\r\n\r\n")
        assert b"transfer-encoding" not in head
        assert b"connection: close" in head
        assert content == b"first"

    def test_expectations_of_old_clients_are_ignored(self, running: Any) -> None:
        lines = b"host: x\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n"
        old = exchange(running, b"POST /api/v1/echo HTTP/1.0\r\n" + lines + b"ab")
        assert statuses(old) == [200]
        new = exchange(running, b"POST /api/v1/echo HTTP/1.1\r\n" + lines + b"ab")
        assert statuses(new) == [100, 200]

    def test_websockets_are_served_and_refused(self, running: Any) -> None:
        at = f"ws://127.0.0.1:{running.port}"
        with connect(f"{at}/api/v1/ws") as websocket:
            websocket.send("hello")
            assert websocket.recv(timeout=5) == "hello"
        with pytest.raises(InvalidStatus) as refused:
            connect(f"{at}/api/v1/ws", additional_headers={"origin": "https://elsewhere.example"})
        assert refused.value.response.status_code == 403
        assert refused.value.response.headers["content-type"] == "application/problem+json"

    @pytest.mark.parametrize(("connections", "requests"), [(15, 6), (60, 8)])
    def test_clients_that_never_read_are_left(
        self, running: Any, connections: int, requests: int
    ) -> None:
        target = "/api/v1/large?size=8000000" if connections == 15 else "/api/v1/large"
        opened = []
        for _ in range(connections):
            client = socket.create_connection(("127.0.0.1", running.port), timeout=10)
            client.sendall(request(target) * requests)
            opened.append(client)
        assert eventually(lambda: metric(running, "http_server_open_connections") > connections)
        # Only the connection that asks for the metric is left.
        assert eventually(lambda: metric(running, "http_server_open_connections") <= 1, seconds=15)
        for client in opened:
            client.close()
        assert "never retrieved" not in running.log.read_text()

    async def test_requests_in_flight_are_counted_over_all_processes(self, running: Any) -> None:
        async with httpx2.AsyncClient(
            base_url=running.url, headers={"connection": "close"}
        ) as client:

            async def counted() -> list[float]:
                text = (await client.get("/metrics")).text
                name = "http_server_active_requests"
                return [
                    float(line.split()[-1]) for line in text.splitlines() if line.startswith(name)
                ]

            slow = [
                asyncio.create_task(client.get("/api/v1/slow", params={"seconds": 2}))
                for _ in range(6)
            ]
            while await counted() != [6.0] and not any(task.done() for task in slow):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            await asyncio.sleep(0.2)  # it stays at that
            values = await counted()
            for task in slow:
                assert (await task).status_code == 200
        assert values == [6.0]
