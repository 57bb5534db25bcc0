"""`./dev fix`: what machines can put right: lint, format, lock file, files made from the code."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import typer

from devtools import env_example, openapi
from devtools.check import Step, run
from devtools.derived import files
from devtools.errors import CommandError
from devtools.project import ROOT, uv_command
from devtools.terminal import Terminal

MOST_SHOWN: Final = 3
"""Paths of files; of more, how many there are."""


def fix() -> None:
    """Mend lint findings, format, bring the lock file and files made from the code up to date."""
    terminal = Terminal()
    ruff = (sys.executable, "-m", "ruff")
    steps = [
        Step("lint", (*ruff, "check", "--fix", "--quiet", ".")),
        Step("format", (*ruff, "format", "--quiet", ".")),
    ]
    if uv := uv_command():
        steps.append(Step("lock file", (uv, "lock", "--quiet")))
    failed = False
    for step in steps:
        outcome = run(step.command)
        if outcome.passed:
            terminal.step(step.name, "done", outcome.seconds)
        else:
            failed = True
            terminal.failure(f"{step.name}: this remains to be done by hand")
            terminal.console.print(outcome.output, markup=False)
    try:
        written = openapi.write_all()
    except CommandError as error:
        failed = True
        terminal.failure(str(error))
    else:
        terminal.step("API", "docs/api written" if written else "docs/api is right")
    try:
        changed = files.write()
    except CommandError as error:
        failed = True
        terminal.failure(str(error))
    else:
        terminal.step(
            "services", f"{_listed(changed)} written" if changed else "all is as declared"
        )
    # After the services: among the settings are the scopes that they declare.
    written = env_example.write()
    terminal.step("settings", ".env.example written" if written else ".env.example is right")
    raise typer.Exit(1 if failed else 0)


def _listed(paths: Sequence[Path]) -> str:
    shown = [str(path.relative_to(ROOT)) for path in paths[:MOST_SHOWN]]
    more = len(paths) - len(shown)
    return ", ".join([*shown, f"{more} more"] if more else shown)
