"""Records exceptions in spans, each once, without the passwords of URLs.

FastAPI tells of an unhandled exception by a log record, once. `ExceptionEvents` is the provider of
that logger and makes a span event of it, because a trace is where somebody looks for it.
"""

import contextlib
import re
import traceback
from typing import Any, Final

from opentelemetry import trace
from opentelemetry._logs import Logger, LoggerProvider
from opentelemetry.trace import Span, StatusCode

_password_in_url: Final = re.compile(r"(://[^:/@\s]*):[^@/\s]+@")
_RECORDED: Final = "__recorded_in_span__"


def without_passwords(text: str) -> str:
    """Remove passwords of URLs, which a traceback may quote."""
    return _password_in_url.sub(r"\1:***@", text)


def record_exception(span: Span, error: BaseException) -> None:
    """Record an exception as an event, and the status; an exception that already is, only that.

    Source: OpenTelemetry semantic conventions, "Recording exceptions on spans".
    """
    span.set_attribute("error.type", type(error).__qualname__)
    span.set_status(StatusCode.ERROR)
    if not span.is_recording() or getattr(error, _RECORDED, False):
        return
    with contextlib.suppress(AttributeError):  # an exception with slots is recorded each time
        setattr(error, _RECORDED, True)
    span.add_event(
        "exception",
        {
            "exception.type": type(error).__qualname__,
            "exception.message": without_passwords(str(error)),
            "exception.stacktrace": without_passwords("".join(traceback.format_exception(error))),
        },
    )


class _ExceptionLogger(Logger):
    """Makes events of the current span of the records that have an exception."""

    def __init__(self) -> None:
        super().__init__("fastapi")

    def emit(self, *_: Any, exception: BaseException | None = None, **__: Any) -> None:
        """Record the exception, if there is one."""
        if exception is not None:
            record_exception(trace.get_current_span(), exception)

    def enabled(self, **_: Any) -> bool:
        """Return that records are wanted."""
        return True


class ExceptionEvents(LoggerProvider):
    """The logger provider for FastAPI's telemetry."""

    def __init__(self) -> None:
        self._logger = _ExceptionLogger()

    def get_logger(self, *_: Any, **__: Any) -> Logger:
        """Return the one logger."""
        return self._logger


__all__ = ["ExceptionEvents", "record_exception", "without_passwords"]
