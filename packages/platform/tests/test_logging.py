"""Logs: one object a line, nothing unescaped, nothing that blocks."""

import io
import json
import logging as standard_logging
import threading
from collections.abc import Iterator

import pytest

from service_platform import logging
from service_platform.context import RequestContext, current
from service_platform.settings import PlatformSettings


@pytest.fixture
def output() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    logging.configure_logging(
        PlatformSettings(project_name="orders", log_format="json"), stream=stream
    )
    yield stream
    logging.configure_logging(PlatformSettings())


def lines(output: io.StringIO) -> list[dict[str, object]]:
    logging.writer.close()
    return [json.loads(line) for line in output.getvalue().splitlines()]


def test_an_event_is_one_json_object(output: io.StringIO) -> None:
    logging.get_logger("orders").info("order_placed", order_id=7)
    (line,) = lines(output)
    assert line["event"] == "order_placed"
    assert (line["order_id"], line["logger"], line["level"]) == (7, "orders", "info")
    assert (line["service"], str(line["timestamp"])[-1]) == ("orders", "Z")


def test_a_line_break_from_outside_stays_inside_its_line(output: io.StringIO) -> None:
    logging.get_logger("x").warning("bad", value='a\n{"event": "forged"}\x1b[31m')
    assert len(lines(output)) == 1


@pytest.mark.parametrize(
    "text", ["\x7f", "\x9b31m", "\u2028", "\u202e", "\U000e0001", "é灯", "\ud800"]
)
def test_a_line_is_printable_and_loses_nothing(output: io.StringIO, text: str) -> None:
    logging.get_logger("x").warning("bad", value=text)
    (line,) = lines(output)
    assert line["value"] == text
    assert output.getvalue().removesuffix("\n").isprintable()


def test_a_number_of_any_size_is_logged(output: io.StringIO) -> None:
    logging.get_logger("x").warning("big", value=2**70)
    (line,) = lines(output)
    assert line["value"] == 2**70


def test_a_console_line_carries_no_control_characters() -> None:
    stream = io.StringIO()
    logging.configure_logging(PlatformSettings(log_format="console"), stream=stream)
    logging.get_logger("x").warning("bad", value="\x1b[2Jgone")
    logging.writer.close()
    logging.configure_logging(PlatformSettings())
    assert "\x1b" not in stream.getvalue()
    assert "gone" in stream.getvalue()


def test_lines_of_a_request_carry_its_id(output: io.StringIO) -> None:
    context = RequestContext({}, {}, settings=PlatformSettings(_env_file=None))
    reset = current.set(context)
    logging.get_logger("x").info("inside")
    current.reset(reset)
    logging.get_logger("x").info("outside")
    inside, outside = lines(output)
    assert (inside["request_id"], inside["trace_id"]) == (context.request_id, context.trace_id)
    assert "request_id" not in outside


def test_libraries_log_into_the_same_place(output: io.StringIO) -> None:
    standard_logging.getLogger("some.library").warning("%s is odd", "this")
    (line,) = lines(output)
    assert (line["logger"], line["event"]) == ("some.library", "this is odd")


def test_a_traceback_is_part_of_its_event(output: io.StringIO) -> None:
    try:
        raise ValueError("no")
    except ValueError:
        logging.get_logger("x").exception("failed")
    (line,) = lines(output)
    assert "ValueError: no" in str(line["exception"])


def test_a_password_in_an_address_is_not_logged(output: io.StringIO) -> None:
    try:
        raise ValueError("cannot reach postgresql://items:hunter2@db/items")
    except ValueError:
        logging.get_logger("x").exception("failed")
        standard_logging.getLogger("some.library").exception("failed")
    logging.writer.close()
    assert "hunter2" not in output.getvalue()
    assert "postgresql://items:***@db/items" in output.getvalue()


def test_below_the_level_nothing_is_written(output: io.StringIO) -> None:
    logging.get_logger("x").debug("detail")
    assert lines(output) == []


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


def test_a_stuck_reader_blocks_nobody_and_what_is_dropped_is_counted() -> None:
    stream = StuckStream()
    writer = logging.LogWriter(stream, console=False, size=10)
    writer.put({"timestamp": 0.0, "event": "first"})
    assert stream.entered.wait(5)
    for _ in range(25):
        writer.put({"timestamp": 0.0, "event": "more"})
    stream.released.set()
    writer.close()
    events = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert len([event for event in events if event["event"] == "more"]) == 10
    assert [event["count"] for event in events if event["event"] == "log_lines_dropped"] == [15]


def test_a_finalizer_may_log_whatever_the_interrupted_code_holds() -> None:
    """The collector may run it inside of `Thread.start`, whose lock a new thread waits for."""
    writer = logging.LogWriter(io.StringIO(), console=False, size=10)

    def interrupted() -> None:
        with threading._active_limbo_lock:  # type: ignore[attr-defined]
            writer.put({"timestamp": 0.0, "event": "finalized"})

    thread = threading.Thread(target=interrupted, daemon=True)
    thread.start()
    thread.join(5)
    assert not thread.is_alive()
    writer.close()


def test_a_reader_that_never_reads_does_not_hold_up_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logging, "CLOSE_SECONDS", 0.1)
    stream = StuckStream()
    writer = logging.LogWriter(stream, console=False, size=10)
    writer.put({"timestamp": 0.0, "event": "first"})
    assert stream.entered.wait(5)
    writer.put({"timestamp": 0.0, "event": "second"})
    writer.close()
    stream.released.set()
