"""`./dev migrate`: write, run and look at the database migrations of the services."""

import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import typer

from devtools.command_group import CommandGroup
from devtools.forward import dev_system
from devtools.project import ROOT
from devtools.services import Service, chosen
from service_platform.revisions import folder_of

app = typer.Typer(
    cls=CommandGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Write, run and look at database migrations.",
)

Names = Annotated[list[str] | None, typer.Argument(help="Which services; all when none.")]


@app.command()
def new(
    service: Annotated[str, typer.Argument(help="Whose migration.")],
    message: Annotated[str, typer.Argument(help='What it does, such as "add colour".')],
) -> None:
    """Write a migration from the difference between models and database."""
    # The comparison is with a database that has every earlier migration.
    if status := _run([service], ["up"], quiet=True):
        raise typer.Exit(status)
    folder = folder_of(f"{service}.migrations") / "versions"
    before = set(folder.glob("*.py"))
    worst = _run([service], ["new", message])
    if written := sorted(set(folder.glob("*.py")) - before):
        _tidy(written)
    raise typer.Exit(worst)


@app.command()
def up(services: Names = None) -> None:
    """Run the migrations that are missing."""
    raise typer.Exit(_run(services, ["up"]))


@app.command()
def status(services: Names = None) -> None:
    """Say where each database stands; exit status 3 when one is behind."""
    raise typer.Exit(_run(services, ["status"]))


def _tidy(files: Sequence[Path]) -> None:
    """Bring what Alembic wrote into the form that `./dev check` asks for."""
    ruff = (sys.executable, "-m", "ruff")
    for command in (("check", "--fix-only", "--quiet"), ("format", "--quiet")):
        subprocess.run([*ruff, *command, *files], cwd=ROOT, check=False)  # noqa: S603 - our own tool


def _run(names: Sequence[str] | None, arguments: Sequence[str], *, quiet: bool = False) -> int:
    """Run the platform's migration command for each service; the worst exit status."""
    services = chosen(list(names) if names else None)
    with dev_system(services) as environments, ThreadPoolExecutor() as threads:

        def one(service: Service) -> "subprocess.CompletedProcess[str]":
            return subprocess.run(  # noqa: S603 - our own program
                [
                    sys.executable, "-m", "service_platform.database.migrate",
                    service.name, *arguments,
                ],
                cwd=ROOT, env=environments[service], text=True, check=False, capture_output=True,
            )  # fmt: skip

        worst = 0
        for done in threads.map(one, services):
            if done.stdout and not (quiet and done.returncode == 0):
                typer.echo(done.stdout.rstrip())
            if done.stderr:
                typer.echo(done.stderr.rstrip(), err=True)
            worst = max(worst, done.returncode)
    return worst
