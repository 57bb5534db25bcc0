"""A whole local system for one test module, beside whatever else runs on this machine."""

import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from devtools.services import SERVICES

PORTS = (*(service.port for service in SERVICES), 8000, 8443, 15432, 16379, 4318)


@dataclass(frozen=True)
class Done:
    """How a command ended, and everything it said."""

    returncode: int
    stdout: str
    stderr: str

    @property
    def said(self) -> str:
        return self.stdout + self.stderr


@dataclass
class System:
    """Commands and processes of one `./dev`."""

    state_dir: Path
    offset: int

    @property
    def environment(self) -> dict[str, str]:
        kept = {
            name: value
            for name, value in os.environ.items()
            if name in {"PATH", "HOME", "LANG", "UV"} or name.startswith("COV")
        }
        return {**kept, "DEV_STATE_DIR": str(self.state_dir), "COLUMNS": "200"}

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "devtools", *arguments]

    def dev(self, *arguments: str, **environment: str) -> Done:
        done = subprocess.run(
            self.command(*arguments),
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def up(self, *arguments: str, **environment: str) -> Done:
        return self.dev("up", "--detach", f"--port-offset={self.offset}", *arguments, **environment)

    def up_attached(self, *arguments: str) -> "tuple[subprocess.Popen[str], str]":
        """Start `up` and return when it says that all is ready, with what it said."""
        process = subprocess.Popen(
            self.command("up", f"--port-offset={self.offset}", *arguments),
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if "Ready" in line:
                return process, "".join(said)
        raise AssertionError("".join(said))

    def port(self, name: str) -> int:
        return next(each.port for each in SERVICES if each.name == name) + self.offset

    def processes(self) -> list[psutil.Process]:
        """Everything that was started for it, servers included."""
        return [each for each in psutil.process_iter() if self._owns(each)]

    def _owns(self, process: psutil.Process) -> bool:
        try:
            if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                return False
            return process.environ().get("DEV_STATE_DIR") == str(self.state_dir) or (
                str(self.state_dir) in " ".join(process.cmdline())
            )
        except psutil.Error:
            return False

    def remove(self) -> None:
        for process in self.processes():
            with suppress(psutil.Error):
                process.kill()


def free_offset() -> int:
    """An offset at which all ports of a system are free; another one for each process."""
    start = 10_000 + os.getpid() % 400 * 10
    return next(
        offset
        for offset in range(start, start + 4_000, 10)
        if all(is_free(port + offset) for port in PORTS)
    )


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def interrupt(process: "subprocess.Popen[str]", number: signal.Signals = signal.SIGINT) -> str:
    """Send a signal, wait for the end, return what was said meanwhile."""
    process.send_signal(number)
    said, _ = process.communicate(timeout=60)
    return said
