"""Configures structured logs: one JSON object a line, or readable lines on a terminal.

Events go through structlog and become lines at once (`log_renderers.py`), which takes two
microseconds; a bounded queue keeps them for the thread that writes them (`log_writer.py`).
`logging` of libraries ends in the same place.
"""

import atexit
import logging
import os
import sys
import time
from collections.abc import MutableMapping
from typing import Any, Final, TextIO, cast

import structlog
from opentelemetry import trace
from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

from service_platform.context import current_context
from service_platform.log_renderers import ConsoleRenderer, JsonRenderer
from service_platform.log_writer import LogWriter
from service_platform.settings import PlatformSettings
from service_platform.telemetry.exceptions import without_passwords

_QUIET_LIBRARIES: Final = ("uvicorn.access", "httpx2", "httpcore2", "asyncio")


class _QueueLogger:
    """Queues the finished event at the end of structlog's chain of processors."""

    def __init__(self, name: str) -> None:
        self.name = name

    def msg(self, event: dict[str, Any]) -> None:
        writer.put(event)

    debug = info = warning = warn = error = critical = exception = fatal = log = msg


def _make_logger(*args: Any) -> _QueueLogger:
    return _QueueLogger(str(args[0]) if args else "service")


def _add_context(logger: WrappedLogger, _: str, event: EventDict) -> EventDict:
    event["logger"] = logger.name
    event["timestamp"] = time.time()
    if "exception" in event:
        event["exception"] = without_passwords(event["exception"])
    for name, value in current_ids().items():
        event.setdefault(name, value)
    return event


def current_ids() -> dict[str, str]:
    """Return the ids of the request and of the span that this code works for, where there are."""
    ids = {}
    context = current_context()
    if context is not None:
        ids["request_id"] = context.request_id
    span = trace.get_current_span().get_span_context()
    if span.is_valid:
        ids["trace_id"] = trace.format_trace_id(span.trace_id)
        ids["span_id"] = trace.format_span_id(span.span_id)
    elif context is not None:
        ids["trace_id"], ids["span_id"] = context.trace_id, context.span_id
    return ids


def _as_arguments(_: WrappedLogger, __: str, event: EventDict) -> tuple[Any, dict[str, Any]]:
    return (dict(event),), {}


class _StandardLibraryHandler(logging.Handler):
    """Queues the `logging` records of libraries."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            event: MutableMapping[str, Any] = {
                "timestamp": record.created,
                "level": record.levelname.lower(),
                "logger": record.name,
                "event": record.getMessage(),
            }
            if record.exc_info and record.exc_info[0] is not None:
                text = logging.Formatter().formatException(record.exc_info)
                event["exception"] = without_passwords(text)
            event.update(current_ids())
            writer.put(dict(event))
        except Exception:  # noqa: BLE001 - logging must never fail the caller
            self.handleError(record)


writer = LogWriter(sys.stdout, JsonRenderer({}), size=10_000)
"""Takes finished events, which are dictionaries: `logging.writer.put(event)`."""


def get_logger(name: str) -> FilteringBoundLogger:
    """Return a structlog logger: `get_logger("orders").info("order_placed", order_id=...)`."""
    return cast("FilteringBoundLogger", structlog.get_logger(name))


def configure_logging(settings: PlatformSettings, stream: TextIO | None = None) -> None:
    """Send all logs of the process to `stream` (standard output) as the settings say.

    Safe to call again: the last call wins.
    """
    global writer  # noqa: PLW0603 - one process has one standard output
    out = stream if stream is not None else sys.stdout
    console = settings.log_format == "console" or (settings.log_format == "auto" and out.isatty())
    writer.close()
    fields = {"service": settings.project_name, "version": settings.version}
    render = ConsoleRenderer(colors=out.isatty()) if console else JsonRenderer(fields)
    writer = LogWriter(out, render, size=settings.log_queue_size)
    level = logging.DEBUG if settings.debug else logging.getLevelNamesMapping()[settings.log_level]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            _add_context,
            _as_arguments,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=_make_logger,
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers[:] = [
        handler for handler in root.handlers if not isinstance(handler, _StandardLibraryHandler)
    ]
    root.addHandler(_StandardLibraryHandler())
    root.setLevel(level)
    for name in _QUIET_LIBRARIES:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))


def _after_fork() -> None:
    writer.reset()  # the parent's thread does not exist in the child


os.register_at_fork(after_in_child=_after_fork)
atexit.register(lambda: writer.close())  # noqa: PLW0108 - the writer of that moment
