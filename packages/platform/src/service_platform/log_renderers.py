"""Renders log events: JSON lines for machines, short readable lines for a terminal.

An event is a dictionary with `timestamp` in seconds since the epoch. Nothing that a caller sends
can end a line or act on a terminal: what is not printable is escaped.
"""

import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast

import orjson
import structlog
from structlog.typing import WrappedLogger


class JsonRenderer:
    """Renders an event as one JSON object in one line.

    Args:
        fields: what every line has, such as the service's name; those of an event win.
    """

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self._fields = dict(fields)
        self._encoded_fields = _dumps(self._fields)[1:-1] + "," if fields else ""
        self._stamp = (-1, "")

    def __call__(self, event: dict[str, Any]) -> str:
        """Return the line of an event, which is changed."""
        seconds = event.pop("timestamp")
        whole = int(seconds)
        second, stamp = self._stamp
        if whole != second:
            stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))
            self._stamp = (whole, stamp)
        fields = self._encoded_fields
        if not self._fields.keys().isdisjoint(event):
            fields, event = "", {**self._fields, **event}
        milliseconds = int((seconds - whole) * 1000)
        return f'{{"timestamp":"{stamp}.{milliseconds:03d}Z",{fields}{_dumps(event)[1:]}\n'


class ConsoleRenderer:
    """Renders an event as a line for a person at a terminal.

    Args:
        colors: whether the terminal shows colours.
    """

    def __init__(self, *, colors: bool) -> None:
        self._renderer = structlog.dev.ConsoleRenderer(
            colors=colors, sort_keys=False, pad_event_to=24
        )

    def __call__(self, event: dict[str, Any]) -> str:
        """Return the line of an event, or several lines where it has a traceback."""
        seconds = event.pop("timestamp")
        stamp = datetime.fromtimestamp(seconds, UTC).astimezone().strftime("%H:%M:%S.%f")[:-3]
        safe = {key: _printable(value) for key, value in event.items()}
        if safe.get("logger") == "access":
            safe = _shorten_access(safe)
        rendered = self._renderer(cast("WrappedLogger", None), "", {"timestamp": stamp, **safe})
        return f"{rendered}\n"


def _dumps(event: dict[str, Any]) -> str:
    """One line of printable JSON: what JSON leaves as it is and terminals act on is escaped too."""
    try:
        line = orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    except orjson.JSONEncodeError:  # half a character, or a number of more than 64 bits
        line = json.dumps(event, default=str, separators=(",", ":"))
    if (line.isascii() and "\x7f" not in line) or line.isprintable():
        return line
    return "".join(c if c.isprintable() else _escape(c) for c in line)


def _escape(character: str) -> str:
    """Escape a character as JSON does, in UTF-16 (RFC 8259, section 7)."""
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


def _shorten_access(event: dict[str, Any]) -> dict[str, Any]:
    """Shorten an access event to method, path, status and time."""
    is_websocket = event["event"] == "websocket"
    seconds = event["websocket.duration" if is_websocket else "http.server.request.duration"]
    method = "WEBSOCKET" if is_websocket else event["http.request.method"]
    short = {
        "level": event["level"],
        "event": f"{method} {event['url.path']}",
        "status": event["http.response.status_code"],
        "ms": round(float(seconds) * 1000, 1),
        "request_id": event["request_id"],
    }
    return {**short, "close_code": event["websocket.close_code"]} if is_websocket else short


def _printable(value: object) -> object:
    """Text without control characters: a terminal must not obey what a caller sent."""
    if isinstance(value, str) and not value.isprintable():
        return "".join(
            c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode()
            for c in value
        )
    return value
