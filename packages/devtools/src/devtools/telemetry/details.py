"""What is worth a place beside a span's name: its most telling attribute, its exception."""

from collections.abc import Mapping
from typing import Any, Final

from devtools.telemetry.spans import Span

STATUS_CODE: Final = "http.response.status_code"
_TELLING: Final = ("db.query.text", "url.full", "messaging.destination.name")
_EXCEPTION: Final = "exception"


def detail(span: Span) -> str:
    """The most telling attribute in one line; empty where there is none or the name says it."""
    for name in _TELLING:
        value = one_line(str(span.attributes.get(name) or ""))
        if value and value.rstrip(";") not in span.name:
            return value
    return one_line(_decision(span.attributes))


def status_code(span: Span) -> int | None:
    """The HTTP status of the response, where the span has one."""
    value = span.attributes.get(STATUS_CODE)
    return value if isinstance(value, int) else None


def failure(span: Span) -> str:
    """Why a failed span failed, such as `OperationalError: connection refused`."""
    for event in reversed(span.events):
        if event.name == _EXCEPTION:
            kind = str(event.attributes.get("exception.type") or "")
            message = str(event.attributes.get("exception.message") or "")
            return one_line(": ".join(each for each in (kind.rpartition(".")[2], message) if each))
    # Where the status says it, a SERVER span's error.type is the status code once more.
    kind = str(span.attributes.get("error.type") or "")
    return one_line(span.status_message or ("" if kind == str(status_code(span)) else kind))


def one_line(text: str) -> str:
    """Text without line ends, runs of spaces and characters that act on a terminal."""
    words = " ".join(text.split())
    if words.isprintable():
        return words
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in words
    )


def _decision(attributes: Mapping[str, Any]) -> str:
    """What a rate limit decided: that the request may pass, or which policies refuse it."""
    allowed = attributes.get("rate_limit.allowed")
    if allowed is None:
        return ""
    violated = attributes.get("rate_limit.violated") or ()
    return "allowed" if allowed else f"refused: {', '.join(map(str, violated))}"
