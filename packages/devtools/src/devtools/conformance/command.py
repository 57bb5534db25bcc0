"""The command `./dev conformance`."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from functools import partial
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from devtools.conformance import suite as suites
from devtools.conformance.differences import read
from devtools.conformance.report import compare, show
from devtools.conformance.runs import (
    BASELINE,
    MODES,
    Mode,
    Run,
    baseline,
    baseline_of_failures,
    run,
)
from devtools.terminal import Terminal


class Only(StrEnum):
    """One of the two ways in which the platform runs."""

    ACCELERATED = "accelerated"
    PLAIN = "plain"


def conformance(
    *,
    only: Annotated[
        Only | None, typer.Option(help="ACCELERATION=true or false alone; both by default.")
    ] = None,
    select: Annotated[
        str, typer.Option("-k", metavar="EXPRESSION", help="Run these tests, as pytest's -k.")
    ] = "",
    quick: Annotated[
        bool, typer.Option(help="Run on FastAPI itself only what fails on the platform.")
    ] = False,
    fresh: Annotated[
        bool, typer.Option(help="Download, install and run everything again.")
    ] = False,
) -> None:
    """Run FastAPI's own test suite on the platform; fails where it differs and is not meant to."""
    terminal = Terminal()
    if fresh:
        shutil.rmtree(suites.folder(), ignore_errors=True)
    modes = [each for each in MODES if only is None or each.name == only]
    arguments = ["-k", select] if select else []
    differences = read()
    release = suites.locked()
    terminal.say(f"Test suite of FastAPI {release.version}, in {suites.folder()}")
    suite = suites.prepare(release, suites.fetch(release))
    expected = None if quick else _measured(terminal, BASELINE.name, partial(baseline, suite))
    runs = [_measured(terminal, each.name, partial(_run, suite, each, arguments)) for each in modes]
    if expected is None:
        failures = partial(baseline_of_failures, suite, runs)
        expected = _measured(terminal, BASELINE.name, failures)
    found = [compare(expected, each, differences, selected=bool(select)) for each in runs]
    show(terminal.console, expected, found)
    if not all(each.succeeded for each in found):
        terminal.failure("The platform differs from FastAPI where it is not meant to.")
        raise typer.Exit(1)
    terminal.step("all well   ", "every difference from FastAPI is a deliberate one")


def _run(
    suite: suites.Suite,
    mode: Mode,
    arguments: Sequence[str],
    progress: Callable[[int, int], None],
) -> Run:
    return run(suite, mode, arguments, progress=progress)


def _measured(
    terminal: Terminal, name: str, start: Callable[[Callable[[int, int], None]], Run]
) -> Run:
    """Start a run under a progress bar and say how it ended."""
    with _progress(terminal, name) as progress:
        done = start(progress)
    _done(terminal, done)
    return done


def _done(terminal: Terminal, run: Run) -> None:
    if run.earlier:
        terminal.step(
            f"{run.mode.name:<12}", f"{len(run.passed)} passed, as kept from an earlier run"
        )
    else:
        terminal.step(f"{run.mode.name:<12}", f"{len(run.passed)} passed", run.seconds)


@contextmanager
def _progress(terminal: Terminal, name: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal, and nothing in a file."""
    bar = Progress(
        TextColumn("  {task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=terminal.console,
        transient=True,
        disable=not terminal.console.is_terminal,
    )
    with bar:
        task = bar.add_task(f"{name:<13}", total=None)

        def tell(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total or None)

        yield tell
