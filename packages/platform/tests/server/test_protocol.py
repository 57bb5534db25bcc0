"""What a connection may send before there is a request."""

import socket
from collections.abc import Callable
from typing import Any

import httpx2

PLATFORM = ("service_platform.server", "waiting:make", "--host", "127.0.0.1")


def exchange(running: Any, *parts: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", running.port), timeout=15) as connection:
        for part in parts:
            connection.sendall(part)
        answer = b""
        while data := connection.recv(65_536):
            answer += data
        return answer


def test_a_head_over_its_limit_is_refused(start: Callable[..., Any]) -> None:
    running = start(*PLATFORM)
    endless = b"GET / HTTP/1.1\r\nhost: x\r\nx-filler: " + b"x" * 70_000
    assert exchange(running, endless).startswith(b"HTTP/1.1 431 ")
    many = b"GET / HTTP/1.1\r\nhost: x\r\n" + b"x-filler: y\r\n" * 6_000
    assert exchange(running, many).startswith(b"HTTP/1.1 431 ")
    assert httpx2.get(f"{running.url}/api/v1/fast").status_code == 200


def test_a_large_but_allowed_head_is_read(start: Callable[..., Any]) -> None:
    running = start(*PLATFORM)
    headers = {"x-filler": "x" * 30_000}
    with httpx2.Client(base_url=running.url) as client:
        for _ in range(3):
            assert client.get("/api/v1/fast", headers=headers).status_code == 200


def test_what_is_no_http_is_refused(start: Callable[..., Any]) -> None:
    assert exchange(start(*PLATFORM), b"\x16\x03\x01 hello\r\n\r\n").startswith(b"HTTP/1.1 400 ")


def test_a_head_that_never_ends_is_given_up(start: Callable[..., Any]) -> None:
    running = start(*PLATFORM)
    answer = exchange(running, b"GET / HTTP/1.1\r\nhost: x\r\n")
    assert answer.startswith(b"HTTP/1.1 408 ")
