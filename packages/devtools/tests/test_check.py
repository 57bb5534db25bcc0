import sys
from pathlib import Path

import pytest
import typer

from devtools import check
from devtools.errors import UsageError


def step(name: str, code: str, remedy: str = "") -> check.Step:
    return check.Step(name, (sys.executable, "-c", code), remedy)


def test_only_what_fails_is_shown_with_its_remedy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = [
        step("good", "print('quiet')"),
        step("bad", "import sys; print('[loud]'); sys.exit(1)", "./dev fix"),
    ]
    monkeypatch.setattr(check, "steps", lambda: steps)
    with pytest.raises(typer.Exit) as ended:
        check.check()
    assert ended.value.exit_code == 1
    said = capsys.readouterr().out
    assert "[loud]" in said
    assert "quiet" not in said
    assert "Not well: bad" in said
    assert "bad: ./dev fix" in said


def test_all_well_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(check, "steps", lambda: [step("good", "pass")])
    check.check()
    assert "All is well" in capsys.readouterr().out


def test_only_the_named_checks_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = [step("lint", "pass"), step("types", "import sys; sys.exit(1)")]
    monkeypatch.setattr(check, "steps", lambda: steps)
    check.check(only=["lint"])
    assert "types" not in capsys.readouterr().out
    with pytest.raises(UsageError, match="There is no check lnt; did you mean lint"):
        check.check(only=["lnt"])


def test_everything_that_must_hold_is_checked() -> None:
    names = {each.name for each in check.steps()}
    assert {"format", "lint", "types", "imports", "manifests"} <= names


def test_every_command_exists() -> None:
    assert all(Path(each.command[0]).exists() for each in check.steps())
