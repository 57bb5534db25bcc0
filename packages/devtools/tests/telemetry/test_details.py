from typing import Any

import pytest
from sample_spans import exception, span

from devtools.telemetry.details import detail, failure, one_line, status_code


@pytest.mark.parametrize(
    ("name", "attributes", "text"),
    [
        ("INSERT", {"db.query.text": "INSERT INTO x\n VALUES (1)"}, "INSERT INTO x VALUES (1)"),
        ("GET", {"url.full": "http://a/b", "server.address": "a"}, "http://a/b"),
        ("GET", {"url.full": "http://a/b", "db.query.text": "SELECT 1"}, "SELECT 1"),
        ("publish", {"messaging.destination.name": "auth"}, "auth"),
        ("send auth", {"messaging.destination.name": "auth"}, ""),
        ("limit", {"rate_limit.allowed": True, "rate_limit.backend": "redis"}, "allowed"),
        ("limit", {"rate_limit.allowed": False, "rate_limit.violated": ["a"]}, "refused: a"),
        ("COMMIT", {"db.query.text": "COMMIT;"}, ""),
        ("x", {}, ""),
    ],
)  # fmt: skip
def test_the_most_telling_attribute(name: str, attributes: dict[str, Any], text: str) -> None:
    assert detail(span("a", name=name, attributes=attributes)) == text


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"events": (exception("a.b.OSError", "gone\naway"),)}, "OSError: gone away"),
        ({"events": (exception("OSError", ""),)}, "OSError"),
        ({"events": (exception("First", ""), exception("Last", ""))}, "Last"),
        ({"status_message": "refused", "attributes": {"error.type": "x"}}, "refused"),
        ({"attributes": {"error.type": "timeout"}}, "timeout"),
        ({"attributes": {"error.type": "503", "http.response.status_code": 503}}, ""),
        ({}, ""),
    ],
)
def test_why_a_span_failed(values: dict[str, Any], text: str) -> None:
    assert failure(span("a", status="error", **values)) == text


def test_a_status_code_is_a_number() -> None:
    assert status_code(span("a", attributes={"http.response.status_code": 201})) == 201
    assert status_code(span("a", attributes={"http.response.status_code": "201"})) is None
    assert status_code(span("a")) is None


def test_nothing_acts_on_a_terminal() -> None:
    assert one_line("a\x1b[31mb\r\nc\x00 ü") == r"a\x1b[31mb c\x00 ü"
