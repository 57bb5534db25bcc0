"""Writes log lines in a thread of its own, behind a bounded queue.

A slow reader of standard output never holds up the event loop: what does not fit into the queue is
dropped and counted.
"""

import threading
import time
from _thread import start_new_thread
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, Final, TextIO

from service_platform.metrics import log_lines_dropped

BATCH_SECONDS: Final = 0.02
"""Lines of this span are written with one system call."""

CLOSE_SECONDS: Final = 2.0
"""Time to write what is queued when the process ends and its reader is slow."""

_END: Final = None
"""In the queue it ends the thread."""


class LogWriter:
    """A bounded queue of lines and the thread that writes them.

    The thread does not render: it would take the interpreter lock from the event loop for longer
    than rendering takes.

    Args:
        stream: text stream whose file descriptor gets the lines.
        render: makes the line of an event, see `log_renderers`.
        size: lines held at most; more are dropped and counted.
    """

    def __init__(
        self, stream: TextIO, render: Callable[[dict[str, Any]], str], *, size: int
    ) -> None:
        self._stream = stream
        self._render = render
        self._size = size
        self.reset()

    def reset(self) -> None:
        """Forget the queue and the thread: in a forked child they are the parent's."""
        self._queue: SimpleQueue[str | None] = SimpleQueue()
        self._running: threading.Lock | None = None
        self._starting = threading.Lock()
        self._dropped = 0

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


def _drop_notice(count: int) -> dict[str, Any]:
    return {
        "timestamp": time.time(),
        "level": "warning",
        "logger": "log",
        "event": "log_lines_dropped",
        "count": count,
    }
