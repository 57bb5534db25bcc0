"""`./dev fix`: what machines can put right: lint, format, lock file, `.env.example`."""

import sys

import typer

from devtools import env_example
from devtools.check import Step, run
from devtools.project import uv_command
from devtools.terminal import Terminal


def fix() -> None:
    """Mend lint findings, format, bring the lock file and .env.example up to date."""
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
    written = env_example.write()
    terminal.step("settings", ".env.example written" if written else ".env.example is right")
    raise typer.Exit(1 if failed else 0)
