"""Runs uv, which makes the environments of commands that need one of their own."""

import os
import subprocess

from devtools.errors import CommandError
from devtools.project import ROOT, uv_command


class UvError(CommandError):
    """uv is missing, or could not do what was asked; the message has what it said."""


def run_uv(*arguments: str) -> str:
    """Run uv in the root folder and return its output.

    Raises:
        UvError: it is missing or failed.
    """
    uv = uv_command()
    if uv is None:
        raise UvError("uv is missing: start this command with ./dev, or install uv.")
    # An environment that is active in this shell is somebody else's.
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    done = subprocess.run(  # noqa: S603 - our own arguments
        [uv, *arguments],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise UvError(f"uv {' '.join(arguments[:2])} failed: {done.stderr.strip()}")
    return done.stdout


__all__ = ["UvError", "run_uv"]
