"""Structured logs: one JSON object a line, or readable lines on a terminal.

Events go through structlog and become lines at once, which takes two microseconds; a bounded queue
keeps them for a thread of its own that writes them, so that a slow reader of standard output never
holds up the event loop. What does not fit into the queue is dropped and counted. `logging` of
libraries ends in the same place.
"""

import atexit
import json
import logging
import os
import re
import sys
import threading
import time
from _thread import start_new_thread
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from datetime import UTC, datetime
from queue import Empty, SimpleQueue
from typing import Any, Final, TextIO, cast

import orjson
import structlog
from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

from service_platform.context import current_context
from service_platform.metrics import log_lines_dropped
from service_platform.settings import PlatformSettings

BATCH_SECONDS: Final = 0.02
"""Lines of this span are written with one system call."""

CLOSE_SECONDS: Final = 2.0
"""Time to write what is queued when the process ends and its reader is slow."""

_END: Final = None
"""In the queue it ends the thread."""

_password_in_url: Final = re.compile(r"(://[^:/@\s]*):[^@/\s]+@")

_QUIET_LIBRARIES: Final = ("uvicorn.access", "httpx2", "httpcore2", "asyncio")


class LogWriter:
    """A bounded queue of lines and the thread that writes them.

    The thread does not render: it would take the interpreter lock from the event loop for longer
    than rendering takes.

    Args:
        stream: text stream whose file descriptor gets the lines.
        console: readable lines instead of JSON.
        size: lines held at most; more are dropped and counted.
    """

    def __init__(self, stream: TextIO, *, console: bool, size: int) -> None:
        self._stream = stream
        self._size = size
        self._static: dict[str, Any] = {}
        self._static_part = ""
        self._stamp = (0, "")
        self._render = self._console if console else self._json
        self._console_renderer = structlog.dev.ConsoleRenderer(
            colors=console and stream.isatty(), sort_keys=False, pad_event_to=24
        )
        self._reset()

    def _reset(self) -> None:
        self._queue: SimpleQueue[str | None] = SimpleQueue()
        self._running: threading.Lock | None = None
        self._starting = threading.Lock()
        self._dropped = 0

    def set_static(self, fields: Mapping[str, Any]) -> None:
        """Fields that every line has, such as the service's name."""
        self._static = dict(fields)
        self._static_part = _dumps(self._static)[1:-1] + "," if fields else ""

    def put(self, event: dict[str, Any]) -> None:
        """Queue one event; never blocks. `event` needs `timestamp` in seconds since the epoch.

        May be called from anywhere, a finalizer included, which the garbage collector runs in the
        middle of other code: nothing here takes a lock that the interrupted code could hold.
        """
        if self._queue.qsize() >= self._size:
            self._dropped += 1
            log_lines_dropped.inc()
            return
        self._queue.put(self._render(event))
        if self._running is None and self._starting.acquire(blocking=False):
            self._start()

    def close(self) -> None:
        """Write what is queued and end the thread. A later event starts another one."""
        running, self._running = self._running, None
        if running is not None:
            self._queue.put(_END)
            if not running.acquire(timeout=CLOSE_SECONDS):
                return
            self._starting.release()
        self._write([])

    def _start(self) -> None:
        running = self._running = threading.Lock()
        running.acquire()
        try:
            # `Thread.start` would wait for a lock that finalizers may find taken.
            start_new_thread(self._run, (running,))
        except RuntimeError:  # the interpreter ends: `close` writes, which `atexit` calls
            self._running = None
            self._starting.release()

    def _run(self, running: threading.Lock) -> None:
        try:
            while (line := self._queue.get()) is not _END:
                time.sleep(BATCH_SECONDS)
                if not self._write([line]):
                    break
        finally:
            running.release()

    def _write(self, lines: list[str]) -> bool:
        """Write these lines and those that are queued; whether the writer goes on."""
        ended = False
        with suppress(Empty):
            while not ended:
                line = self._queue.get_nowait()
                if line is _END:
                    ended = True
                else:
                    lines.append(line)
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            lines.append(self._render(_drop_notice(dropped)))
        if lines:
            try:
                self._stream.write("".join(lines))
                self._stream.flush()
            except (OSError, ValueError):
                # Nobody reads standard output any more; there is nowhere left to say so.
                log_lines_dropped.inc(len(lines))
        return not ended

    def _json(self, event: dict[str, Any]) -> str:
        seconds = event.pop("timestamp")
        whole = int(seconds)
        second, stamp = self._stamp
        if whole != second:
            stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))
            self._stamp = (whole, stamp)
        static = self._static_part
        if not self._static.keys().isdisjoint(event):
            static, event = "", {**self._static, **event}
        milliseconds = int((seconds - whole) * 1000)
        return f'{{"timestamp":"{stamp}.{milliseconds:03d}Z",{static}{_dumps(event)[1:]}\n'

    def _console(self, event: dict[str, Any]) -> str:
        seconds = event.pop("timestamp")
        stamp = datetime.fromtimestamp(seconds, UTC).astimezone().strftime("%H:%M:%S.%f")[:-3]
        safe = {key: _printable(value) for key, value in event.items()}
        if safe.get("logger") == "access":
            safe = _short_access(safe)
        rendered = self._console_renderer(
            cast("WrappedLogger", None), "", {"timestamp": stamp, **safe}
        )
        return f"{rendered}\n"


def _dumps(event: dict[str, Any]) -> str:
    """One line of printable JSON: what JSON leaves as it is and terminals act on is escaped too."""
    try:
        line = orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    except orjson.JSONEncodeError:  # half a character, or a number of more than 64 bits
        line = json.dumps(event, default=str, separators=(",", ":"))
    if (line.isascii() and "\x7f" not in line) or line.isprintable():
        return line
    return "".join(c if c.isprintable() else _escaped(c) for c in line)


def _escaped(character: str) -> str:
    """As JSON writes it, in UTF-16 (RFC 8259, section 7)."""
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


def _drop_notice(count: int) -> dict[str, Any]:
    return {
        "timestamp": time.time(),
        "level": "warning",
        "logger": "log",
        "event": "log_lines_dropped",
        "count": count,
    }


def _short_access(event: dict[str, Any]) -> dict[str, Any]:
    """On a terminal an access line is read by a person: method, path, status, time."""
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


class _SinkLogger:
    """What structlog calls at the end of its chain: queues the finished event."""

    def __init__(self, name: str) -> None:
        self.name = name

    def msg(self, event: dict[str, Any]) -> None:
        writer.put(event)

    debug = info = warning = warn = error = critical = exception = fatal = log = msg


def _make_logger(*args: Any) -> _SinkLogger:
    return _SinkLogger(str(args[0]) if args else "service")


def _add_origin(logger: WrappedLogger, _: str, event: EventDict) -> EventDict:
    event["logger"] = logger.name
    event["timestamp"] = time.time()
    if "exception" in event:
        event["exception"] = _without_passwords(event["exception"])
    context = current_context()
    if context is not None:
        event.setdefault("request_id", context.request_id)
        event.setdefault("trace_id", context.trace_id)
    return event


def _without_passwords(text: str) -> str:
    """A traceback may quote an address with its password; the log must not."""
    return _password_in_url.sub(r"\1:***@", text)


def _finish(_: WrappedLogger, __: str, event: EventDict) -> tuple[Any, dict[str, Any]]:
    return (dict(event),), {}


class _StandardLibraryHandler(logging.Handler):
    """Brings `logging` records of libraries into the same queue."""

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
                event["exception"] = _without_passwords(text)
            context = current_context()
            if context is not None:
                event["request_id"] = context.request_id
            writer.put(dict(event))
        except Exception:  # noqa: BLE001 - logging must never fail the caller
            self.handleError(record)


writer = LogWriter(sys.stdout, console=False, size=10_000)


def get_logger(name: str) -> FilteringBoundLogger:
    """A structlog logger: `get_logger("orders").info("order_placed", order_id=...)`."""
    return cast("FilteringBoundLogger", structlog.get_logger(name))


def configure_logging(settings: PlatformSettings, stream: TextIO | None = None) -> None:
    """Send all logs of the process to `stream` (standard output) as the settings say.

    Safe to call again: the last call wins.
    """
    global writer  # noqa: PLW0603 - one process has one standard output
    out = stream if stream is not None else sys.stdout
    console = settings.log_format == "console" or (settings.log_format == "auto" and out.isatty())
    writer.close()
    writer = LogWriter(out, console=console, size=settings.log_queue_size)
    writer.set_static({"service": settings.project_name, "version": settings.version})
    level = logging.DEBUG if settings.debug else logging.getLevelNamesMapping()[settings.log_level]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            _add_origin,
            _finish,
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
    writer._reset()  # noqa: SLF001 - the parent's thread does not exist in the child


os.register_at_fork(after_in_child=_after_fork)
atexit.register(lambda: writer.close())  # noqa: PLW0108 - the writer of that moment
