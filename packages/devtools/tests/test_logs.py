from pathlib import Path

import pytest

from devtools.logs import LogFile, _by_time
from devtools.services import ITEMS


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LogFile:
    monkeypatch.setenv("DEV_STATE_DIR", str(tmp_path))
    (tmp_path / "logs").mkdir()
    return LogFile(ITEMS)


def test_a_growing_log_is_read_by_complete_lines(log: LogFile) -> None:
    log.path.write_text("one\ntw")
    assert list(log.new()) == ["one"]
    with log.path.open("a") as file:
        file.write("o\nthree\n")
    assert list(log.new()) == ["two", "three"]
    assert list(log.new()) == []


def test_a_log_that_begins_again_is_read_from_its_beginning(log: LogFile) -> None:
    log.path.write_text("a long line of the first run\n")
    list(log.new())
    log.path.write_text("second\n")
    assert list(log.new()) == ["second"]


def test_the_last_lines_can_be_none(log: LogFile) -> None:
    log.path.write_text("one\ntwo\nthree\n")
    assert log.last(0) == []
    assert LogFile(ITEMS).last(2) == ["two", "three"]


def test_lines_of_services_are_in_the_order_of_the_clock() -> None:
    lines = [
        ("10:00:02.000 b", "items"),
        ("Traceback", "items"),
        ("10:00:01.000 a", "users"),
    ]
    assert [line for line, _ in _by_time(lines)] == [
        "10:00:01.000 a",
        "10:00:02.000 b",
        "Traceback",
    ]
