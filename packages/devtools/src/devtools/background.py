"""Starts `./dev up` without a terminal, for `--detach`, and waits until it is ready."""

import contextlib
import subprocess
import sys
import time
from typing import Final

from devtools import state
from devtools.program import python
from devtools.project import ROOT, logs_dir
from devtools.state import State
from devtools.terminal import Terminal

LOG: Final = "dev.log"


def start_in_background(terminal: Terminal) -> int:
    """Start the same command without a terminal and wait until it is ready; the exit status.

    Raises:
        AlreadyRunningError: the system runs.
    """
    state.take().close()  # says at once when it runs already
    state.clear()
    logs_dir().mkdir(parents=True, exist_ok=True)
    arguments = [each for each in sys.argv[1:] if each not in {"--detach", "-d"}]
    log_file = logs_dir() / LOG
    with log_file.open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - ourselves
            python("-m", "devtools", *arguments, "--background"),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=ROOT,
        )
    try:
        found = _wait_until_ready(terminal, process)
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        terminal.say("Ended.")
        return 130
    if found is not None and found.phase == "ready":
        terminal.overview(found, "./dev status, ./dev logs -f, ./dev down.")
        return 0
    failures = Terminal(stderr=True)
    for warning in found.warnings if found is not None else ():
        failures.warn(warning)
    if found is not None and found.message:
        failures.failure(found.message)
    else:
        failures.failure(f"It ended while starting; its output is in {log_file}.")
    return 1


def _wait_until_ready(terminal: Terminal, process: "subprocess.Popen[bytes]") -> State | None:
    with terminal.console.status("Starting") as shown:
        while process.poll() is None:
            found = state.last()
            if found is not None and found.pid == process.pid:
                if found.phase == "ready":
                    return found
                with contextlib.suppress(Exception):
                    shown.update(f"Starting {found.step}")
            time.sleep(0.05)
    return state.last()
