from pathlib import Path

import pytest

from devtools import logs
from devtools.errors import UsageError
from devtools.log_files import LogFile, by_time, stamped


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LogFile:
    monkeypatch.setenv("DEV_STATE_DIR", str(tmp_path))
    (tmp_path / "logs").mkdir()
    return LogFile("users")


def texts(log: LogFile) -> list[str]:
    return [line.text for line in log.new()]


def test_a_growing_log_is_read_by_complete_lines(log: LogFile) -> None:
    log.path.write_text("one\ntw")
    assert texts(log) == ["one"]
    with log.path.open("a") as file:
        file.write("o\nthree\n")
    assert texts(log) == ["two", "three"]
    assert texts(log) == []


def test_a_log_that_begins_again_is_read_from_its_beginning(log: LogFile) -> None:
    log.path.write_text("a long line of the first run\n")
    list(log.new())
    log.path.write_text("second\n")
    assert texts(log) == ["second"]


def test_the_last_lines_can_be_none(log: LogFile) -> None:
    log.path.write_text("one\ntwo\nthree\n")
    assert log.last(0) == []
    assert [line.text for line in LogFile("users").last(2)] == ["two", "three"]


def test_lines_of_services_are_in_the_order_in_which_they_came(
    log: LogFile, tmp_path: Path
) -> None:
    yesterday, today = "2026-03-01T23:59:59.900000+0100", "2026-03-02T00:00:00.100000+0100"
    log.path.write_text(
        f"{yesterday} 23:59:59.900 a\n{yesterday} Traceback\n{today} 00:00:00.100 c\n"
    )
    other = LogFile("auth")
    other.path.write_text("2026-03-01T23:59:59.950000+0100 23:59:59.950 b\n")
    lines = [(line, "") for file in (log, other) for line in file.last(9)]
    assert [line.text for line, _ in by_time(lines)] == [
        "23:59:59.900 a",
        "Traceback",
        "23:59:59.950 b",
        "00:00:00.100 c",
    ]


def test_a_line_that_is_kept_comes_back_without_its_stamp(log: LogFile) -> None:
    log.path.write_text(stamped('{"json": 1}') + "\n")
    assert texts(log) == ['{"json": 1}']


def test_a_new_day_is_told_between_the_lines(
    log: LogFile, capsys: pytest.CaptureFixture[str]
) -> None:
    log.path.write_text(
        "2026-03-01T23:59:59.900000+0100 late\n2026-03-02T00:00:00.100000+0100 early\n"
    )
    logs.logs(["users"], follow=False, lines=10)
    said = capsys.readouterr().out
    assert said.index("late") < said.index("Monday, 02 March 2026") < said.index("early")


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        ([], {"auth", "users", "gateway"}),
        (["users"], {"users"}),
        (["gateway"], {"gateway"}),
        (["gateway", "auth"], {"gateway", "auth"}),
    ],
)
def test_services_and_what_runs_beside_them_are_shown_by_name(
    log: LogFile, capsys: pytest.CaptureFixture[str], asked: list[str], shown: set[str]
) -> None:
    for name in ("auth", "users", "gateway"):
        LogFile(name).path.write_text(f"{stamped('said')}\n")
    logs.logs(asked, follow=False, lines=10)
    assert {line.split()[0] for line in capsys.readouterr().out.splitlines()} == shown


def test_a_name_that_nothing_has_is_refused(log: LogFile) -> None:
    with pytest.raises(UsageError, match="There is no service gatewy"):
        logs.logs(["gatewy"], follow=False, lines=10)
