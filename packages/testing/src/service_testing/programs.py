"""Starts Python programs, such as a service's server, as processes that are ready soon.

They are forks of `fork_server`, one of which each test process starts when it first needs it.
"""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from service_testing.fork_server import NUMBER, Program
from service_testing.processes import in_lasting_thread, launcher_command

RUN_SECONDS = 60.0


class ForkedProcess:
    """A running program; a part of `subprocess.Popen`'s interface, with the same meanings.

    Args:
        reports: where the fork server tells its process id and, in the end, its exit status.

    Attributes:
        pid: of the process.
        returncode: None until `poll` or `wait` has seen it end; negative after a signal.
    """

    def __init__(self, reports: socket.socket) -> None:
        self._reports = reports
        self._lock = threading.Lock()
        weakref.finalize(self, reports.close)
        self.pid = self._number()
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Returns the exit status, None as long as there is none."""
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float | None = None) -> int:
        """Returns the exit status when there is one.

        Args:
            timeout: in seconds; None waits for as long as it takes.

        Raises:
            subprocess.TimeoutExpired: it went on for longer.
        """
        if self.returncode is not None:
            return self.returncode
        # Others may ask meanwhile, so waiting is done without the lock.
        told, _, _ = select.select([self._reports], [], [], timeout)
        if not told:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
        with self._lock:
            if self.returncode is None:
                self.returncode = self._number()
            return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        """Sends a signal; does nothing when it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Ends it at once."""
        self.send_signal(signal.SIGKILL)

    def _number(self) -> int:
        told = self._reports.recv(NUMBER.size)
        if not told:
            raise ChildProcessError("The fork server has ended, and what it had started with it.")
        number: int = NUMBER.unpack(told)[0]
        return number


class ForkServer:
    """The process that forks, for as long as this process lives or until `stop`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests, theirs = socket.socketpair()
        command = [
            *launcher_command(os.getpid(), signal.SIGKILL, "-", []),
            *[sys.executable, "-m", "service_testing.fork_server"],
        ]
        with theirs:
            self._process = in_lasting_thread(
                lambda: subprocess.Popen(  # noqa: S603 - our own program
                    command, stdin=theirs.fileno(), env=environment_of_python()
                )
            )

    def start(self, program: Program, output: IO[bytes]) -> ForkedProcess:
        """Starts a program; what it prints is written to `output`."""
        ours, theirs = socket.socketpair()
        request = json.dumps(asdict(program)).encode()
        descriptors = [output.fileno(), theirs.fileno()]
        with theirs, self._lock:
            socket.send_fds(self._requests, [NUMBER.pack(len(request))], descriptors)
            self._requests.sendall(request)
        return ForkedProcess(ours)

    def stop(self) -> None:
        """Ends it, and every program that it started and that still runs."""
        self._requests.close()
        self._process.wait()


_servers: dict[int, ForkServer] = {}
_lock = threading.Lock()


def environment_of_python() -> dict[str, str]:
    """The variables with which Python finds programs and modules as this process does."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry),
    }


def start(
    module: str,
    arguments: Sequence[str],
    *,
    environment: Mapping[str, str],
    folder: Path,
    output: IO[bytes],
) -> ForkedProcess:
    """Starts `python -m module arguments…`; it ends with this process at the latest.

    Args:
        module: import name.
        arguments: of its command line.
        environment: its variables; nothing of this process's own is passed on but PATH and where
            modules are found.
        folder: where it runs.
        output: an open file, for all that it prints.
    """
    with _lock:
        if os.getpid() not in _servers:  # a fork of this process has no share in its server
            _servers[os.getpid()] = ForkServer()
        server = _servers[os.getpid()]
    variables = {**environment_of_python(), **environment}
    return server.start(Program(module, list(arguments), variables, str(folder)), output)


def run(
    module: str, *arguments: str, environment: Mapping[str, str], folder: Path
) -> "subprocess.CompletedProcess[str]":
    """Runs `python -m module arguments…` to its end, within a minute.

    Returns:
        Its exit status, and as `stdout` all that it printed.
    """
    with TemporaryFile() as output:
        process = start(module, arguments, environment=environment, folder=folder, output=output)
        try:
            status = process.wait(RUN_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        output.seek(0)
        said = output.read().decode()
    return subprocess.CompletedProcess([module, *arguments], status, said)


def end() -> None:
    """Ends what `start` has started in this process and still runs, without a chance to object."""
    with _lock:
        server = _servers.pop(os.getpid(), None)
    if server is not None:
        server.stop()
