"""`./dev down`: end what `./dev up` started, here or in another terminal."""

import contextlib
import os
import signal
import time
from typing import Final

import typer

from devtools import state
from devtools.terminal import Terminal
from service_testing.processes import command_of

PATIENCE_SECONDS: Final = 40.0


def down() -> None:
    """End the services, then PostgreSQL and Valkey."""
    terminal = Terminal()
    found = state.running()
    if found is None:
        terminal.say("Nothing is running.")
        return
    began = time.monotonic()
    with contextlib.suppress(ProcessLookupError):
        os.kill(found.pid, signal.SIGTERM)
    with terminal.console.status("Ending"):
        # The lock goes first, the process a moment later.
        while state.running() is not None or command_of(found.pid):
            if time.monotonic() - began > PATIENCE_SECONDS:
                terminal.failure(
                    f"Process {found.pid} has not ended after {PATIENCE_SECONDS:g} s; "
                    f"`kill -9 {found.pid}` ends it and everything it started."
                )
                raise typer.Exit(1)
            time.sleep(0.05)
    terminal.say(f"Everything has ended, in {time.monotonic() - began:.1f} s.")
