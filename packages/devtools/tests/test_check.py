import sys
from dataclasses import replace
from pathlib import Path

import pytest
import typer

from devtools import check
from devtools.check_skips import EXIT_NO_NETWORK
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
    assert {"format", "lint", "types", "imports", "contracts", "manifests"} <= names


def test_what_needs_a_network_that_is_not_there_is_left_out_and_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("CI", raising=False)
    away = step("far", f"import sys; sys.exit({EXIT_NO_NETWORK})")
    monkeypatch.setattr(check, "steps", lambda: [away, step("near", "pass")])
    check.check(newest=False, only=None)
    said = capsys.readouterr().out
    assert "All is well but not all was checked" in said
    assert "Left out for want of a network: far." in said
    monkeypatch.setenv("CI", "1")
    with pytest.raises(typer.Exit):
        check.check(newest=False, only=None)


def test_uv_is_believed_that_it_has_no_network_and_others_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    code = "import sys; print('error sending request for url'); sys.exit(2)"
    command = step("lock file", code).command
    assert not check.run(command).passed
    monkeypatch.setenv("UV", sys.executable)
    assert check.run(command).left_out == check.NO_NETWORK


def test_a_check_is_not_run_again_while_nothing_it_depends_on_has_changed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DEV_STATE_DIR", str(tmp_path))
    code = f"import pathlib; f = pathlib.Path({str(tmp_path / 'runs')!r}); f.open('a').write('x')"
    made = step("slow", code)
    for fingerprint in ("a", "a", "b"):
        check.run_unless_known(replace(made, fingerprint=fingerprint), again=False)
    assert (tmp_path / "runs").read_text() == "xx"
    check.run_unless_known(replace(made, fingerprint="b"), again=True)
    assert (tmp_path / "runs").read_text() == "xxx"


def test_a_check_that_failed_is_run_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DEV_STATE_DIR", str(tmp_path))
    failing = replace(step("slow", "raise SystemExit(1)"), fingerprint="a")
    for _ in range(2):
        assert not check.run_unless_known(failing, again=False).passed


def test_every_command_exists() -> None:
    assert all(Path(each.command[0]).exists() for each in check.steps())
