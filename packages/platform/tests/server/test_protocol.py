"""What a connection may send before there is a request."""

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from starlette.types import Receive, Scope, Send

from service_platform.server.protocol import BoundedHttpProtocol
from service_platform.settings import PlatformSettings

Exchange = Callable[..., Any]

HEAD = b"GET / HTTP/1.1\r\nhost: x\r\n"
LAST = b"connection: close\r\n\r\n"


class Hurried(BoundedHttpProtocol):
    head_timeout = 0.2


async def app(_: Scope, __: Receive, send: Send) -> None:
    headers = [(b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"ok"})


def problem(answer: bytes) -> dict[str, Any]:
    """The problem an answer is, whose headers are those of every answer."""
    head, _, content = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode("ascii").split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    assert headers["content-type"] == "application/problem+json"
    assert int(headers["content-length"]) == len(content)
    assert headers["connection"] == "close"
    assert headers["x-content-type-options"] == "nosniff"
    assert "x-response-time" in headers
    told: dict[str, Any] = json.loads(content)
    assert UUID(told["request_id"]) == UUID(headers["x-request-id"])
    assert status.split()[1] == str(told["status"])
    return told


@pytest.mark.parametrize(
    "rest", [b"x-filler: " + b"x" * 70_000, b"x-filler: y\r\n" * 6_000], ids=["one", "many"]
)
async def test_a_head_over_its_limit_is_refused(exchange: Exchange, rest: bytes) -> None:
    assert problem(await exchange(app, HEAD + rest))["error"] == "headers_too_large"


async def test_a_large_but_allowed_head_is_read(exchange: Exchange) -> None:
    filled = HEAD + b"x-filler: " + b"x" * 30_000 + b"\r\n"
    answer = await exchange(app, filled + b"\r\n", filled + b"\r\n", filled + LAST)
    assert answer.count(b"HTTP/1.1 200 OK") == 3


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01 hello\r\n\r\n",
        HEAD + b"x-request-id: a\nb\r\n\r\n",
        HEAD + b"x-request-id: a\x00b\r\n\r\n",
        HEAD + b"content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
        HEAD + b"content-length: -1\r\n\r\n",
    ],
    ids=["tls", "newline", "nul", "two-lengths", "negative"],
)
async def test_what_is_no_http_is_refused(exchange: Exchange, sent: bytes) -> None:
    assert problem(await exchange(app, sent))["error"] == "bad_request"


async def test_a_head_that_never_ends_is_given_up(exchange: Exchange) -> None:
    answer = await exchange(app, HEAD, kind=Hurried)
    assert problem(answer)["error"] == "request_timeout"


async def test_a_connection_that_asks_nothing_is_closed_without_an_answer(
    exchange: Exchange,
) -> None:
    assert await exchange(app, kind=Hurried) == b""


async def test_the_head_of_a_later_request_has_its_own_time(exchange: Exchange) -> None:
    answer = await exchange(app, HEAD + b"\r\n" + HEAD, kind=Hurried)
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert b"HTTP/1.1 408 " in answer


async def test_the_type_of_a_problem_is_where_the_settings_say(exchange: Exchange) -> None:
    settings = PlatformSettings(problem_type_base_url="https://api.test/problems")
    answer = await exchange(app, b"no http\r\n\r\n", kind=BoundedHttpProtocol.of(settings))
    assert problem(answer)["type"] == "https://api.test/problems/bad-request"
