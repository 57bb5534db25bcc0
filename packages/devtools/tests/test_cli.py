import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from local_system import Done, System

from devtools.cli import COMMANDS, main


@pytest.fixture
def run_here(
    system: System, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[list[str]], Done]:
    """Runs a command that fails, in this process: a new one takes half a second."""
    for name in ("COLUMNS", "DEV_STATE_DIR"):
        monkeypatch.setenv(name, system.environment[name])

    def run(arguments: list[str]) -> Done:
        monkeypatch.setattr(sys, "argv", ["dev", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        assert isinstance(ended.value.code, int)
        return Done(ended.value.code, *capsys.readouterr())

    return run


def test_help_lists_every_command(system: System) -> None:
    done = system.dev("--help")
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (["statsu"], 2, "There is no command statsu; did you mean status? See ./dev --help."),
        (["migrate", "stats"], 2, "no command stats; did you mean status? See ./dev migrate --h"),
        (["up", "--only=usres"], 2, "There is no service usres; did you mean users?"),
        (["up", "--debug=usres"], 2, "There is no service usres; did you mean users?"),
        (["up", "--workrs=3"], 2, "There is no option --workrs; did you mean --workers?"),
        (["up", "--workers=x"], 2, "Invalid value for '--workers': it must be a valid integer."),
        (["logs", "auht"], 2, "There is no service auht; did you mean auth?"),
        (["routes", "user"], 2, "There is no service user; did you mean users?"),
        (["image", "nothing"], 2, "There is no service nothing. There are users"),
        (["migrate", "up", "usres"], 2, "There is no service usres; did you mean users?"),
        (["migrate", "new", "usres", "x"], 2, "There is no service usres; did you mean users?"),
        (["seed", "--rows=501"], 2, "Invalid value for '--rows'"),
        (["test", "nosuch.py"], 4, "There is no such file or folder: nosuch.py."),
        (["test", "-x", "tests/e2e", "test_cil.py"], 4, "mean packages/devtools/tests/test_cli.py"),
    ],
)
def test_a_mistake_is_one_sentence_with_the_nearest_name(
    run_here: Callable[[list[str]], Done], arguments: list[str], status: int, sentence: str
) -> None:
    done = run_here(arguments)
    assert done.returncode == status
    assert sentence in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stderr.startswith("  ✗ ")
    assert done.stdout == ""


def test_a_folder_that_cannot_be_written_is_one_sentence(system: System, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = system.dev("up", DEV_STATE_DIR=str(tmp_path / "file"))
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert str(tmp_path / "file") in done.stderr


def test_arguments_of_other_programs_reach_them(system: System) -> None:
    assert "rotate-keys" in system.dev("auth", "--help").stdout
    assert "enqueue jobs again that failed" in system.dev("jobs", "--help").stdout
    assert "-m pytest [options]" in system.dev("test", "--help").stdout
