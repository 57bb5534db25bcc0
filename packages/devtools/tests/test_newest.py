import sys
from pathlib import Path

import pytest
import typer

from devtools import newest
from devtools.check import Step
from devtools.newest import Change
from devtools.project import ROOT
from devtools.services import SERVICES


def test_what_differs_from_the_lock_file_is_told_watched_libraries_first() -> None:
    locked = {"pydantic": {"2.14.3"}, "anyio": {"4.1"}, "numpy": {"1.0", "2.0"}, "redis": {"8.1"}}
    installed = {"anyio": "4.2", "pydantic": "2.15.0", "numpy": "2.0", "redis": "8.1", "new": "1"}
    assert newest.differences(locked, installed) == [
        Change("pydantic", "2.14.3", "2.15.0"),
        Change("anyio", "4.1", "4.2"),
        Change("new", "none", "1"),
    ]


def test_every_library_with_an_upper_bound_is_watched() -> None:
    locked = newest.locked_versions()
    assert all(each.partition("[")[0] in locked for each in newest.WATCHED)
    assert {"fastapi", "uvicorn"} <= set(newest.WATCHED)


def test_everything_of_the_workspace_is_installed() -> None:
    assert {Path(each).name for each in newest.members()} >= {"platform", "auth", "users"}
    assert "dev" in newest.default_groups()


def test_types_and_tests_of_platform_and_services_run_with_the_interpreter_of_the_environment() -> (
    None
):
    python = Path("/environment/bin/python")
    steps = newest.steps(python)
    assert [each.name for each in steps][:2] == ["types", "platform tests"]
    assert {f"{each.name} tests" for each in SERVICES} <= {each.name for each in steps}
    assert all(each.command[0] == str(python) for each in steps)
    assert all((ROOT / each.command[-1]).is_dir() for each in steps)


def test_lines_that_name_failures_are_picked_from_an_output() -> None:
    output = "...F.\nE   assert 1 == 2\nFAILED a.py::test_b - assert 1 == 2\n1 failed"
    assert newest.what_broke(output) == ["FAILED a.py::test_b - assert 1 == 2"]
    assert newest.what_broke("a.py:1: error: Bad  [misc]\nFound 1 error") == [
        "a.py:1: error: Bad  [misc]"
    ]
    assert newest.what_broke("Segmentation fault") == ["Segmentation fault"]


@pytest.fixture
def _newer_pydantic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(newest, "install", lambda: Path(sys.executable))
    monkeypatch.setattr(newest, "locked_versions", lambda: {"pydantic": {"2.14.3"}})
    monkeypatch.setattr(newest, "installed_versions", lambda *_: {"pydantic": "2.15.0"})


def steps_of(*codes: str) -> list[Step]:
    return [Step(f"step {code}", (sys.executable, "-c", code)) for code in codes]


@pytest.mark.usefixtures("_newer_pydantic")
def test_what_broke_is_shown_and_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    codes = ("pass", "print('noise'); print('ERROR a.py - gone'); exit(1)")
    monkeypatch.setattr(newest, "steps", lambda *_: steps_of(*codes))
    with pytest.raises(typer.Exit) as ended:
        newest.check_newest()
    assert ended.value.exit_code == 1
    said = capsys.readouterr().out
    assert "2.14.3" in said
    assert "2.15.0" in said
    assert "    ERROR a.py - gone" in said
    assert "\nnoise" not in said


@pytest.mark.usefixtures("_newer_pydantic")
def test_nothing_broke_is_a_success(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(newest, "steps", lambda *_: steps_of("pass"))
    newest.check_newest()
    assert "nothing broke" in capsys.readouterr().out


@pytest.mark.usefixtures("_newer_pydantic")
def test_nothing_newer_runs_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(newest, "locked_versions", lambda: {"pydantic": {"2.15.0"}})
    monkeypatch.setattr(newest, "steps", lambda *_: steps_of("exit(1)"))
    newest.check_newest()
    assert "has the newest releases" in capsys.readouterr().out
