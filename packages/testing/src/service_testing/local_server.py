"""What the servers on this machine have in common: one process, one data directory, one port.

`LocalPostgres` and `LocalValkey` run the programs inside wheels, no container, with arguments of
our own: TCP on 127.0.0.1, a password, a data directory. The pytest plugin uses them for tests,
`./dev up` for development.

By default a server ends with the process that started it, however that ends (on Linux the kernel
sees to it, see `launcher`). With `detached=True` it lives on, and another process that names the
same data directory can stop it.
"""

import atexit
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Self

from service_testing.data_directory import account_for
from service_testing.errors import LocalServerError
from service_testing.ports import HOST, free_port
from service_testing.processes import (
    children_of,
    command_of,
    in_lasting_thread,
    launcher_command,
    spawn,
)

POLL_SECONDS = 0.005
ORPHANS_SECONDS = 3.0


class LocalServer(ABC):
    """One server process with one data directory and one port; subclasses know the program.

    Args:
        data_dir: kept between starts; made when missing.
        port: on 127.0.0.1; a free one is taken when not given.
        detached: the server outlives this process.
    """

    product: str
    death_signal: signal.Signals
    stop_signals: tuple[signal.Signals, ...]

    def __init__(
        self, data_dir: Path | str, *, port: int | None = None, detached: bool = False
    ) -> None:
        self.data_dir = Path(data_dir).absolute()
        self.port = free_port() if port is None else port
        self.detached = detached
        self._process: subprocess.Popen[bytes] | None = None
        self._starter: int | None = None

    @property
    def log_file(self) -> Path:
        """Where the server writes its log."""
        return self.data_dir / "server.log"

    @property
    def pid(self) -> int | None:
        """Process id of the running server, also one that another process started; else None."""
        if self._process is not None:
            return self._process.pid if self._process.poll() is None else None
        pid = self._recorded_pid()
        return pid if pid is not None and self._is_ours(pid) else None

    @property
    def running(self) -> bool:
        """Says whether the server's process lives."""
        return self.pid is not None

    def start(self, timeout: float = 20.0) -> None:
        """Starts the server and returns when it answers; does nothing when it already runs.

        Raises:
            LocalServerError: with the reason in one sentence.
        """
        if self.running and self._answers():
            return
        deadline = time.monotonic() + timeout
        self._require_free_port()
        self._prepare()
        self._launch()
        while not self._answers():
            if self._process is None or self._process.poll() is not None:
                if not self._may_try_again() or time.monotonic() > deadline:
                    raise LocalServerError(self._why_it_ended())
                time.sleep(POLL_SECONDS)
                self._launch()
            elif time.monotonic() > deadline:
                self.kill()
                raise LocalServerError(
                    f"{self.product} did not answer on port {self.port} within {timeout:g} s; "
                    f"its log is {self.log_file}."
                )
            time.sleep(POLL_SECONDS)

    def stop(self, timeout: float = 10.0) -> None:
        """Ends the server in order, after the time-out with force; nothing when not running."""
        for signal_number in (*self.stop_signals, signal.SIGKILL):
            pid = self.pid
            if pid is None:
                break
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal_number)
            self._wait_for_end(pid, timeout)
        self._process = None

    def kill(self) -> None:
        """Ends the server at once with SIGKILL, as a crash or a lost machine would."""
        pid = self.pid
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            self._wait_for_end(pid, 10.0)
        self._process = None

    def restart(self, timeout: float = 20.0) -> None:
        """Stops and starts the server on the same port with the same data."""
        self.stop()
        self.start(timeout)

    def pause(self) -> None:
        """Freezes the server (SIGSTOP): connections stay open and nobody answers."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        """Lets a paused server go on."""
        self._signal_all(signal.SIGCONT)

    def remove(self) -> None:
        """Ends the server and deletes its data."""
        self.kill()
        for _ in range(200):  # children of a killed server may still be writing their last file
            shutil.rmtree(self.data_dir, ignore_errors=True)
            if not self.data_dir.exists():
                return
            time.sleep(POLL_SECONDS)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.data_dir)!r}, port={self.port})"

    # What a program's class says about its program.

    @abstractmethod
    def _prepare(self) -> None:
        """Makes the data directory ready for the program."""

    @abstractmethod
    def _command(self) -> list[str]:
        """Returns program and arguments."""

    @abstractmethod
    def _answers(self) -> bool:
        """Says whether the server accepts requests now."""

    @abstractmethod
    def _recorded_pid(self) -> int | None:
        """Returns the process id the server left in its data directory."""

    def _paths(self) -> list[Path]:
        """Returns what the server must be able to reach."""
        return [Path(self._command()[0]), self.data_dir]

    def _may_try_again(self) -> bool:
        """Says whether a start that ended at once is worth another try."""
        return False

    # Shared work.

    def _launch(self) -> None:
        parent = 0 if self.detached else os.getpid()
        command = [
            *launcher_command(parent, self.death_signal, account_for(self.data_dir), self._paths()),
            *self._command(),
        ]
        with self.log_file.open("wb") as log:
            self._process = in_lasting_thread(lambda: spawn(command, log, self.data_dir))
        if not self.detached and self._starter is None:
            atexit.register(self._stop_at_exit)
        self._starter = os.getpid()

    def _stop_at_exit(self) -> None:
        if self._starter == os.getpid():  # not in a forked child
            self.stop()

    def _require_free_port(self) -> None:
        """Waits a moment for the children of a killed server to let go of its port."""
        deadline = time.monotonic() + (ORPHANS_SECONDS if self._recorded_pid() else 0)
        while not self._port_is_free():
            if time.monotonic() > deadline:
                raise LocalServerError(
                    f"{self.product} cannot start because port {self.port} is taken "
                    "by another program; end that program or choose another port."
                )
            time.sleep(POLL_SECONDS)

    def _port_is_free(self) -> bool:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, self.port))
            except OSError:
                return False
            return True

    def _why_it_ended(self) -> str:
        lines = self.log_file.read_text(errors="replace").strip().splitlines()
        reason = next((line for line in reversed(lines) if "FATAL" in line or "rror" in line), "")
        reason = reason or (lines[-1] if lines else "it wrote nothing")
        return f"{self.product} ended while starting: {reason.strip()} (log: {self.log_file})."

    def _wait_for_end(self, pid: int, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while self.pid == pid and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)

    def _is_ours(self, pid: int) -> bool:
        """Guards against a recorded process id that now belongs to some other program."""
        command = command_of(pid)
        return str(self.data_dir) in command or str(self.data_dir.resolve()) in command

    def _signal_all(self, number: signal.Signals) -> None:
        pid = self.pid
        if pid is None:
            raise LocalServerError(f"{self.product} is not running.")
        for each in (pid, *children_of(pid)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(each, number)
