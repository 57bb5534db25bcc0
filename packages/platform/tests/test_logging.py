"""What becomes a log event: structlog's, those of libraries, and what is added to them."""

import io
import json
import logging as standard_logging
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
        raise ValueError("cannot reach postgresql://users:hunter2@db/users")
    except ValueError:
        logging.get_logger("x").exception("failed")
        standard_logging.getLogger("some.library").exception("failed")
    logging.writer.close()
    assert "hunter2" not in output.getvalue()
    assert "postgresql://users:***@db/users" in output.getvalue()


def test_a_terminal_gets_readable_lines_and_a_pipe_json() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for stream, begins in ((Terminal(), "\x1b["), (io.StringIO(), '{"timestamp":')):
        logging.configure_logging(PlatformSettings(log_format="auto"), stream=stream)
        logging.get_logger("x").info("told")
        logging.writer.close()
        assert stream.getvalue().startswith(begins)
    logging.configure_logging(PlatformSettings())


def test_the_last_configuration_wins_and_no_line_is_written_twice(output: io.StringIO) -> None:
    later = io.StringIO()
    logging.configure_logging(PlatformSettings(log_format="json"), stream=later)
    standard_logging.getLogger("some.library").warning("once")
    assert lines(output) == []
    assert len(later.getvalue().splitlines()) == 1


def test_below_the_level_nothing_is_written(output: io.StringIO) -> None:
    logging.get_logger("x").debug("detail")
    assert lines(output) == []
