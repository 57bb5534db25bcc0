"""Lines of the log: one event each, printable, with everything that was logged."""

import json
from typing import Any

import pytest

from service_platform.log_renderers import ConsoleRenderer, JsonRenderer


def event(**values: Any) -> dict[str, Any]:
    return {"timestamp": 0.0, "level": "warning", "logger": "x", "event": "bad", **values}


@pytest.fixture
def json_line() -> JsonRenderer:
    return JsonRenderer({"service": "orders", "version": "1.2"})


def console_line(**values: Any) -> str:
    return ConsoleRenderer(colors=False)(event(**values))


def test_a_line_has_the_fields_of_the_process_and_those_of_the_event(
    json_line: JsonRenderer,
) -> None:
    assert json.loads(json_line(event(order=7))) == {
        "timestamp": "1970-01-01T00:00:00.000Z",
        "service": "orders",
        "version": "1.2",
        "level": "warning",
        "logger": "x",
        "event": "bad",
        "order": 7,
    }


def test_a_field_of_the_event_wins_and_stands_there_once(json_line: JsonRenderer) -> None:
    line = json_line(event(service="other"))
    assert line.count('"service"') == 1
    assert json.loads(line)["service"] == "other"


@pytest.mark.parametrize(
    ("seconds", "stamp"),
    [
        (1_796_000_000.0, "2026-11-30T00:53:20.000Z"),
        (1_796_000_000.9999, "2026-11-30T00:53:20.999Z"),
        (1_796_000_001.5, "2026-11-30T00:53:21.500Z"),
    ],
)
def test_times_are_of_utc_with_milliseconds(
    json_line: JsonRenderer, seconds: float, stamp: str
) -> None:
    json_line(event())
    assert json.loads(json_line(event(timestamp=seconds)))["timestamp"] == stamp


def test_without_fields_of_the_process_a_line_is_json_too() -> None:
    assert json.loads(JsonRenderer({})(event()))["event"] == "bad"


def test_a_line_break_from_outside_stays_inside_its_line(json_line: JsonRenderer) -> None:
    line = json_line(event(value='a\n{"event": "forged"}\x1b[31m'))
    assert line.count("\n") == 1
    assert json.loads(line)["value"].endswith("\x1b[31m")


@pytest.mark.parametrize(
    "text", ["\x7f", "\x9b31m", "\u2028", "\u202e", "\U000e0001", "é灯", "\ud800"]
)
def test_a_line_is_printable_and_loses_nothing(json_line: JsonRenderer, text: str) -> None:
    line = json_line(event(value=text))
    assert json.loads(line)["value"] == text
    assert line.removesuffix("\n").isprintable()


@pytest.mark.parametrize(
    ("value", "logged"),
    [(2**70, 2**70), ({1: "a"}, {"1": "a"}), (ValueError("no"), "no"), ({1}, "{1}")],
)
def test_values_of_any_type_are_logged(json_line: JsonRenderer, value: Any, logged: Any) -> None:
    assert json.loads(json_line(event(value=value)))["value"] == logged


def test_a_console_line_carries_no_control_characters() -> None:
    line = console_line(value="\x1b[2Jgone\x9b")
    assert "\x1b" not in line
    assert "\x9b" not in line
    assert "gone" in line


def test_a_traceback_keeps_its_lines_on_a_console() -> None:
    assert "one\n  two" in console_line(exception="one\n  two")


def test_a_console_shows_of_an_access_event_what_a_person_reads() -> None:
    access = {
        "logger": "access",
        "event": "request",
        "http.request.method": "GET",
        "url.path": "/a\x1b[2J",
        "http.route": "/{x}",
        "http.response.status_code": 404,
        "http.server.request.duration": 0.01234,
        "request_id": "mine",
    }
    line = console_line(**access)
    for shown in ("GET /a", "status=404", "ms=12.3", "request_id=mine"):
        assert shown in line
    assert "http.route" not in line
    assert "\x1b" not in line


def test_a_console_shows_why_a_websocket_ended() -> None:
    line = console_line(
        **{
            "logger": "access",
            "event": "websocket",
            "url.path": "/feed",
            "http.response.status_code": 101,
            "websocket.duration": 2.0,
            "websocket.close_code": 1000,
            "request_id": "mine",
        }
    )
    for shown in ("WEBSOCKET /feed", "status=101", "ms=2000.0", "close_code=1000"):
        assert shown in line
