"""Answers to what never became a request: problems with the headers of every answer."""

import json
import time
from typing import Any

import pytest
from prometheus_client import REGISTRY
from raw_http import problem, split_head, statuses

from service_platform.errors import BadRequest, MethodNotAllowed, Problem
from service_platform.server.refusal import Refusals
from service_platform.settings import PlatformSettings

DEFAULT = [(b"date", b"now")]


def refusals(**settings: Any) -> Refusals:
    return Refusals(PlatformSettings(environment="test", **settings))


def refuse(head: bytes, error: Problem, *, record: bool = True, **settings: Any) -> bytes:
    client = ("127.0.0.1", 1)
    made = refusals(**settings)
    return made.of_head(error, head, client, time.perf_counter(), DEFAULT, record=record)


def counted(method: str, status: int) -> float:
    labels = {"method": method, "route": "unmatched", "status": str(status)}
    return REGISTRY.get_sample_value("http_server_request_duration_seconds_count", labels) or 0.0


def test_a_refusal_is_a_problem_of_a_connection_that_closes() -> None:
    answer = refuse(b"GET /a HTTP/1.1\r\n", BadRequest("What was wrong."))
    assert statuses(answer) == [400]
    told = problem(answer)
    assert (told["error"], told["detail"]) == ("bad_request", "What was wrong.")
    _, headers = split_head(answer.partition(b"\r\n\r\n")[0])
    assert headers["date"] == "now"
    assert "content-security-policy" in headers


def test_a_refusal_of_head_has_no_content() -> None:
    head, _, content = refuse(b"HEAD / HTTP/1.1\r\n", BadRequest()).partition(b"\r\n\r\n")
    assert split_head(head)[0] == 400
    assert content == b""


def test_the_request_id_of_a_refused_head_is_kept() -> None:
    sent = b"GET / HTTP/1.1\r\nx-request-id: 0190a3a0-0000-7000-8000-000000000001\r\n\r\n"
    told = problem(refuse(sent, BadRequest()))
    assert told["request_id"] == "0190a3a0-0000-7000-8000-000000000001"


@pytest.mark.parametrize(
    ("origin", "allowed"), [("https://app.example", True), ("https://elsewhere.example", False)]
)
def test_a_refusal_can_be_read_across_origins_that_are_allowed(
    origin: str, *, allowed: bool
) -> None:
    sent = b"GET / HTTP/1.1\r\norigin: %b\r\n\r\n" % origin.encode()
    answer = refuse(sent, BadRequest(), cors_origins="https://app.example")
    _, headers = split_head(answer.partition(b"\r\n\r\n")[0])
    assert headers.get("access-control-allow-origin") == (origin if allowed else None)
    assert headers["vary"] == "Origin"


@pytest.mark.parametrize("record", [True, False])
def test_a_refusal_is_counted_once_where_it_is_recorded(*, record: bool) -> None:
    before = counted("GET", 405)
    refuse(b"GET / HTTP/1.1\r\n", MethodNotAllowed(), record=record)
    assert counted("GET", 405) - before == (1 if record else 0)


def test_the_type_of_a_refusal_is_where_the_settings_say() -> None:
    answer = refuse(b"", BadRequest(), problem_type_base_url="https://api.test/problems")
    told = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert told["type"] == "https://api.test/problems/bad-request"
