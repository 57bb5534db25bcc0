"""`./dev test`: the whole test suite, in parallel."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path

import typer

from devtools.errors import CommandError
from devtools.project import ROOT
from devtools.terminal import Terminal
from devtools.tests_by_name import TEST_FOLDERS, with_files_of_named_test

COVERAGE = ("--cov", "--cov-report=term", "--cov-report=html")


def test(ctx: typer.Context) -> None:
    """Run the tests. Arguments are pytest's, such as paths or -k; --coverage measures coverage."""
    arguments = list(ctx.args)
    coverage = "--coverage" in arguments
    if coverage:
        arguments.remove("--coverage")
    arguments = [from_root(each, Path.cwd()) for each in arguments]
    for missing in missing_paths(arguments):
        raise NoSuchPathError(missing)
    arguments = with_files_of_named_test(arguments)
    command = [sys.executable, "-m", "pytest", *in_parallel(arguments), *arguments]
    if coverage:
        command += COVERAGE
    began = time.monotonic()
    # Without compiled files each process would compile every test file again, in each run.
    left_out = {"DEV_STATE_DIR", "PYTHONDONTWRITEBYTECODE"}
    environment = {name: value for name, value in os.environ.items() if name not in left_out}
    status = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode  # noqa: S603
    if {"-h", "--help", "--version"} & set(arguments):
        raise typer.Exit(status)
    terminal = Terminal()
    seconds = f"{time.monotonic() - began:.1f} s"
    if status == 0:
        terminal.step("Tests", f"passed in {seconds}")
    else:
        terminal.failure(f"The tests did not pass (exit status {status}, {seconds}).")
    raise typer.Exit(status)


class NoSuchPathError(CommandError):
    """A path on the command line does not exist; pytest's own status, without its start."""

    exit_status = 4

    def __init__(self, path: str) -> None:
        there = [
            str(each.relative_to(ROOT))
            for top in TEST_FOLDERS
            for each in (ROOT / top).rglob("test_*.py")
        ]
        by_name = {Path(each).name: each for each in there}
        near = get_close_matches(path, there, 1, 0.7) or [
            by_name[name] for name in get_close_matches(Path(path).name, by_name, 1)
        ]
        meant = f"; did you mean {near[0]}?" if near else "."
        super().__init__(f"There is no such file or folder: {path}{meant}")


def missing_paths(arguments: Sequence[str]) -> Iterator[str]:
    """Arguments that can only be paths and lead nowhere."""
    before = ""
    for each in arguments:
        path = each.partition("::")[0]
        looks = path.endswith(".py") or "/" in path
        # What follows a short option, such as -k, is its value.
        if looks and not (each.startswith("-") or before.startswith("-") or (ROOT / path).exists()):
            yield path
        before = each


def in_parallel(arguments: Sequence[str]) -> list[str]:
    """The options that spread tests over the processors.

    A file stays in one process, which then starts what the file's tests share only once. Which
    file comes first is said in `conftest.py`; pytest-xdist's own order is by the number of tests.
    None where the caller chose, or named single files: starting the processes would take longer.
    """
    chosen = ("-n", "--numprocesses", "--pdb", "--help", "-h", "--co", "--version")
    if any(each.startswith(chosen) for each in arguments):
        return []
    paths = [each for each in arguments if (ROOT / each.partition("::")[0]).exists()]
    if paths and all(each.partition("::")[0].endswith(".py") for each in paths):
        return []
    return ["-n", str(processes()), "--dist", "loadfile", "--no-loadscope-reorder"]


def processes() -> int:
    """How many test processes: one more than processors, as some tests wait more than they work.

    On two processors three take a tenth less time than two, and four no less than three.
    """
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (usable or 1) + 1


def from_root(argument: str, folder: Path) -> str:
    """An argument as it must be said in the root folder, where it names a path in `folder`."""
    name, separator, rest = argument.partition("::")
    path = folder / name
    if name and not name.startswith("-") and path.exists() and path.resolve().is_relative_to(ROOT):
        return f"{path.resolve().relative_to(ROOT)}{separator}{rest}"
    return argument
