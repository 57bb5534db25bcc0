"""`./dev fix`: what machines can put right: lint, format, lock file, files made from the code."""

import sys

import typer

from devtools import env_example, openapi
from devtools.check import Step, run
from devtools.errors import CommandError
from devtools.project import uv_command
from devtools.terminal import Terminal


def fix() -> None:
    """Mend lint findings, format, bring the lock file, .env.example and docs/api up to date."""
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
    try:
        written = openapi.write_all()
    except CommandError as error:
        failed = True
        terminal.failure(str(error))
    else:
        terminal.step("API", "docs/api written" if written else "docs/api is right")
    raise typer.Exit(1 if failed else 0)
