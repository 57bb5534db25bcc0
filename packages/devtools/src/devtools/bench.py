"""`./dev bench`: the measured comparisons of `benchmarks/`."""

import subprocess
import sys

import typer

from devtools.errors import CommandError
from devtools.project import ROOT, uv_command


def bench(ctx: typer.Context) -> None:
    """Run the comparisons; arguments are those of `python -m benchmarks`, such as names."""
    uv = uv_command()
    if uv is None:
        raise CommandError("The peers to compare with are installed by uv; start this with ./dev.")
    # The peers are in a dependency group of their own, which nothing else installs.
    install = [uv, "sync", "--quiet", "--all-packages", "--inexact", "--group", "bench"]
    if subprocess.run(install, cwd=ROOT, check=False).returncode:  # noqa: S603
        raise CommandError(
            "The libraries to compare with could not be installed; see the message above."
        )
    command = [sys.executable, "-m", "benchmarks", *ctx.args]
    raise typer.Exit(subprocess.run(command, cwd=ROOT, check=False).returncode)  # noqa: S603
