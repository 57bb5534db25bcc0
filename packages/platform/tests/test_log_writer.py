"""The queue of log lines and its thread: nothing here ever blocks the caller."""

import io
import json
import subprocess
import sys
import threading
from typing import Any

import pytest

from service_platform import log_writer
from service_platform.log_renderers import JsonRenderer
from service_platform.log_writer import LogWriter

RENDER = JsonRenderer({})


def event(name: str) -> dict[str, Any]:
    return {"timestamp": 0.0, "event": name}


def events(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


class StuckStream(io.StringIO):
    """A reader that stopped reading."""

    def __init__(self) -> None:
        super().__init__()
        self.released = threading.Event()
        self.entered = threading.Event()

    def write(self, text: str) -> int:
        self.entered.set()
        self.released.wait()
        return super().write(text)


def test_lines_are_written_in_their_order_and_after_a_close_too() -> None:
    stream = io.StringIO()
    writer = LogWriter(stream, RENDER, size=1000)
    for number in range(100):
        writer.put(event(str(number)))
    writer.close()
    writer.put(event("100"))
    writer.close()
    assert [each["event"] for each in events(stream)] == [str(number) for number in range(101)]


def test_an_event_is_rendered_at_once() -> None:
    stream = io.StringIO()
    writer = LogWriter(stream, RENDER, size=10)
    changed = {"timestamp": 0.0, "event": "it", "list": [1]}
    writer.put(changed)
    changed["list"].append(2)  # type: ignore[attr-defined]
    writer.close()
    assert events(stream)[0]["list"] == [1]


def test_a_stuck_reader_blocks_nobody_and_what_is_dropped_is_counted() -> None:
    stream = StuckStream()
    writer = LogWriter(stream, RENDER, size=10)
    writer.put(event("first"))
    assert stream.entered.wait(5)
    for _ in range(25):
        writer.put(event("more"))
    stream.released.set()
    writer.close()
    written = events(stream)
    assert len([each for each in written if each["event"] == "more"]) == 10
    assert [each["count"] for each in written if each["event"] == "log_lines_dropped"] == [15]


def test_a_finalizer_may_log_whatever_the_interrupted_code_holds() -> None:
    """The collector may run it inside of `Thread.start`, whose lock a new thread waits for."""
    writer = LogWriter(io.StringIO(), RENDER, size=10)

    def interrupted() -> None:
        with threading._active_limbo_lock:  # type: ignore[attr-defined]
            writer.put(event("finalized"))

    thread = threading.Thread(target=interrupted, daemon=True)
    thread.start()
    thread.join(5)
    assert not thread.is_alive()
    writer.close()


def test_a_reader_that_never_reads_does_not_hold_up_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(log_writer, "CLOSE_SECONDS", 0.1)
    stream = StuckStream()
    writer = LogWriter(stream, RENDER, size=10)
    writer.put(event("first"))
    assert stream.entered.wait(5)
    writer.put(event("second"))
    writer.close()
    stream.released.set()


def test_a_closed_stream_is_no_error() -> None:
    stream = io.StringIO()
    stream.close()
    writer = LogWriter(stream, RENDER, size=10)
    writer.put(event("lost"))
    writer.close()


PROGRAM = """
import os
from service_platform.logging import configure_logging, get_logger
from service_platform.settings import PlatformSettings

configure_logging(PlatformSettings(log_format="json"))
log = get_logger("test")
log.info("before")
if os.fork() == 0:
    log.info("child")
else:
    os.wait()
    log.info("parent")
"""


def test_a_forked_child_writes_its_own_lines_and_no_line_twice() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    logged = [json.loads(line)["event"] for line in done.stdout.splitlines()]
    assert sorted(logged) == ["before", "child", "parent"]
