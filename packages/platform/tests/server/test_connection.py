"""What a connection may send before there is a request, and how long it may take."""

from collections.abc import Callable
from typing import Any

import pytest
from raw_http import GET as HEAD
from raw_http import LAST_REQUEST, REQUEST, echo, problem, statuses
from raw_http import ok as app

from service_platform.server.states import Limits

Exchange = Callable[..., Any]

LAST = b"connection: close\r\n\r\n"


HURRIED = Limits(head=0.2, keep_alive=0.3)


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
    answer = await exchange(app, HEAD, limits=HURRIED)
    assert problem(answer)["error"] == "request_timeout"


async def test_a_connection_that_asks_nothing_is_closed_without_an_answer(
    exchange: Exchange,
) -> None:
    assert await exchange(app, limits=HURRIED) == b""


async def test_the_head_of_a_later_request_has_its_own_time(exchange: Exchange) -> None:
    answer = await exchange(app, HEAD + b"\r\n" + HEAD, limits=HURRIED)
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert b"HTTP/1.1 408 " in answer


async def test_the_type_of_a_problem_is_where_the_settings_say(exchange: Exchange) -> None:
    answer = await exchange(
        app, b"no http\r\n\r\n", problem_type_base_url="https://api.test/problems"
    )
    assert problem(answer)["type"] == "https://api.test/problems/bad-request"


async def test_empty_lines_before_a_request_are_skipped(exchange: Exchange) -> None:
    answer = await exchange(echo, b"\r\n\r\n" + REQUEST + b"\r\n" + LAST_REQUEST)
    assert statuses(answer) == [200, 200]
