"""`./dev check`: format, lint, types, imports, API contracts, lock file, manifests, all at once."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from devtools.check_skips import (
    EXIT_NO_NETWORK,
    manifests_fingerprint,
    needs_network,
    passed_before,
    remember,
)
from devtools.errors import no_such
from devtools.project import ROOT, uv_command
from devtools.services import SERVICES

NO_NETWORK: Final = "left out: there is no network"
TYPED: Final = ("packages", "services", "benchmarks", "tests")
"""Folders whose types are checked."""


@dataclass(frozen=True, slots=True)
class Step:
    """One check.

    Attributes:
        name: for people.
        command: exit status 0 means well.
        remedy: what to do when it is not.
        fingerprint: of what it depends on; it is not run again while that has not changed.
    """

    name: str
    command: tuple[str, ...]
    remedy: str = ""
    fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a check went.

    Attributes:
        passed: whether all is well.
        seconds: how long it took.
        output: of its program.
        left_out: why it was not done, in words; empty when it was.
    """

    passed: bool
    seconds: float
    output: str
    left_out: str = ""


def steps() -> list[Step]:
    """What is checked in this checkout; the longest first, so that it is not waited for last."""
    tool = (sys.executable, "-m")
    folders = [name for name in TYPED if (ROOT / name).is_dir()]
    found = [
        Step("types", (*tool, "mypy", *folders)),
        Step("format", (*tool, "ruff", "format", "--check", "--quiet", "."), "./dev fix"),
        Step("lint", (*tool, "ruff", "check", "--quiet", "."), "./dev fix mends some of it"),
        Step("imports", (*tool, "devtools.import_contracts")),
        Step("contracts", (*tool, "devtools.contract_check")),
        Step("services", (*tool, "devtools.derived.files"), "./dev fix"),
        Step("migrations", (*tool, "devtools.migration_lint")),
    ]
    if uv := uv_command():
        found.append(Step("lock file", (uv, "lock", "--check", "--quiet"), "./dev fix"))
    if (ROOT / "infra" / "k8s").is_dir():
        command = (*tool, "devtools", "manifests")
        found.insert(1, Step("manifests", command, fingerprint=manifests_fingerprint()))
    return found


def check(
    *,
    newest: Annotated[
        bool,
        typer.Option(
            help="Try the newest releases of the libraries, in an environment of its own."
        ),
    ] = False,
    only: Annotated[
        list[str] | None, typer.Option(help="Only this check, such as types; may be repeated.")
    ] = None,
) -> None:
    """Run every check; shows the output of those that fail.

    What needs a network that is not there is left out and named; under CI it fails.
    """
    if newest:
        from devtools.newest import check_newest  # noqa: PLC0415 - it imports this module

        check_newest()
        return
    console = Console(highlight=False, soft_wrap=True)
    todo, began = chosen(steps(), only), time.monotonic()
    outcomes: dict[str, Outcome] = {}
    with (
        Live(_table(todo, outcomes), console=console, auto_refresh=False, transient=True) as live,
        ThreadPoolExecutor(max(2, os.cpu_count() or 2)) as threads,
    ):

        def carry_out(step: Step) -> None:
            outcomes[step.name] = run_unless_known(step, again=bool(only))
            if console.is_terminal:
                live.update(_table(todo, outcomes), refresh=True)

        list(threads.map(carry_out, todo))
        live.update("")
    console.print(_table(todo, outcomes))
    console.print()
    failed = [step for step in todo if not outcomes[step.name].passed]
    for step in failed:
        console.rule(Text(step.name, style="bold red"), align="left", style="dim")
        console.print(Text(outcomes[step.name].output or "It wrote nothing."))
    seconds = f"{time.monotonic() - began:.1f} s"
    if failed:
        console.print()
    away = [step.name for step in todo if outcomes[step.name].left_out == NO_NETWORK]
    if not failed:
        well = f"All is well but not all was checked, in {seconds}." if away else ""
        console.print(
            Text("  ✓ ", style="green").append(well or f"All is well, in {seconds}.", "bold")
        )
        if away:
            console.print(f"    Left out for want of a network: {', '.join(away)}.")
        if away and os.environ.get("CI"):
            raise typer.Exit(1)
        return
    names = ", ".join(step.name for step in failed)
    console.print(Text("  ✗ ", style="bold red").append(f"Not well: {names} ({seconds}).", "bold"))
    for step in failed:
        if step.remedy:
            console.print(f"    {step.name}: {step.remedy}")
    raise typer.Exit(1)


def chosen(steps: list[Step], names: Sequence[str] | None) -> list[Step]:
    """Return the checks that are named; all of them when none is.

    Raises:
        UsageError: there is no check of a name.
    """
    known = [step.name for step in steps]
    for name in names or ():
        if name not in known:
            raise no_such("check", name, known)
    return [step for step in steps if not names or step.name in names]


def run_unless_known(step: Step, *, again: bool) -> Outcome:
    """Run a check, unless it passed before and nothing it depends on has changed."""
    if step.fingerprint and not again and passed_before(step.name, step.fingerprint):
        return Outcome(passed=True, seconds=0.0, output="", left_out="unchanged since it passed")
    outcome = run(step.command)
    if step.fingerprint and outcome.passed and not outcome.left_out:
        remember(step.name, step.fingerprint)
    return outcome


def run(command: Sequence[str]) -> Outcome:
    """Run one check in the root folder."""
    began = time.monotonic()
    done = subprocess.run(  # noqa: S603 - our own tools
        command,
        cwd=ROOT,
        env={**os.environ, "MYPYPATH": mypy_path()},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    output, seconds = done.stdout.strip(), time.monotonic() - began
    uv = uv_command()
    of_uv = uv is not None and command[0] == uv and needs_network(output)
    if done.returncode and (done.returncode == EXIT_NO_NETWORK or of_uv):
        return Outcome(passed=True, seconds=seconds, output=output, left_out=NO_NETWORK)
    return Outcome(done.returncode == 0, seconds, output)


def mypy_path() -> str:
    """Where mypy finds the services' packages, besides what `pyproject.toml` lists."""
    return os.pathsep.join(str(service.source) for service in SERVICES)


def _table(todo: Sequence[Step], outcomes: dict[str, Outcome]) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for step in todo:
        outcome = outcomes.get(step.name)
        if outcome is None:
            table.add_row("  [dim]·[/]", step.name, "[dim]running[/]")
            continue
        mark = "  [green]✓[/]" if outcome.passed else "  [bold red]✗[/]"
        if outcome.left_out == NO_NETWORK:
            mark = "  [yellow]-[/]"
        how = outcome.left_out or f"{outcome.seconds:5.1f} s"
        table.add_row(mark, step.name, f"[dim]{how}[/]")
    return table
