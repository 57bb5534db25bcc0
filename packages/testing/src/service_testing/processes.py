"""Starts and looks up processes that end with the process that started them."""

import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import IO, Any, TypeVar

T = TypeVar("T")


def launcher_command(
    parent: int, death_signal: signal.Signals, account: str, paths: list[Path]
) -> list[str]:
    """Returns the start of a command line that runs the rest as `launcher` describes."""
    script = Path(__file__).with_name("launcher.py")
    python = [sys.executable, "-I", "-S", str(script)]
    return [*python, str(parent), str(int(death_signal)), account, *map(str, paths), "--"]


def spawn(command: list[str], log: IO[bytes], folder: Path) -> subprocess.Popen[bytes]:
    """Starts a server in a session of its own, so that Ctrl-C reaches only its starter."""
    return subprocess.Popen(  # noqa: S603 - our own program and arguments
        command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        cwd=folder,
    )


_work: "queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]]]" = queue.SimpleQueue()
_lasting_thread: list[threading.Thread] = []
_lasting_thread_lock = threading.Lock()


def in_lasting_thread(function: Callable[[], T]) -> T:
    """Runs a function in a thread that lives as long as the process.

    The kernel sends the parent-death signal when the *thread* that started a process ends, and a
    start may well be asked for from a short-lived one.
    """
    with _lasting_thread_lock:
        if not _lasting_thread or not _lasting_thread[0].is_alive():  # not alive: after a fork
            _lasting_thread[:] = [threading.Thread(target=_work_off, daemon=True, name="servers")]
            _lasting_thread[0].start()
    future: Future[T] = Future()
    _work.put((future, function))
    return future.result()


def _work_off() -> None:
    while True:
        future, function = _work.get()
        try:
            future.set_result(function())
        except BaseException as error:  # noqa: BLE001 - handed to the caller
            future.set_exception(error)


def command_of(pid: int) -> str:
    """Returns the command line of a process, empty when there is none."""
    recorded = Path(f"/proc/{pid}/cmdline")
    if Path("/proc/self").exists():
        try:
            return recorded.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            return ""
    listing = subprocess.run(  # noqa: S603 - constant arguments
        ["/bin/ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return listing.stdout


def children_of(pid: int) -> list[int]:
    """Returns the direct children of a process."""
    listing = Path(f"/proc/{pid}/task/{pid}/children")
    if listing.exists():
        return [int(child) for child in listing.read_text().split()]
    found = subprocess.run(  # noqa: S603 - constant arguments
        ["/usr/bin/pgrep", "-P", str(pid)], capture_output=True, text=True, check=False
    )
    return [int(child) for child in found.stdout.split()]
