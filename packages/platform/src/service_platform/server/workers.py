"""Several server processes on one machine, for where no orchestrator runs replicas.

Each worker is a whole process with its own event loop; all accept from one socket. A worker that
dies is replaced; one that cannot start ends everything. Signals are passed on, so every worker
drains as a single process would. `/metrics` of any worker answers for all of them.
"""

import multiprocessing
import os
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Sequence
from multiprocessing.context import SpawnProcess
from types import FrameType
from typing import Final

from service_platform.logging import configure_logging, get_logger
from service_platform.settings import PlatformSettings

EARLY_DEATH_SECONDS: Final = 1.0
POLL_SECONDS: Final = 0.2

log = get_logger("service_platform.server")


class Supervisor:
    """Starts the workers, replaces dead ones, ends all on a signal.

    Args:
        path: application factory, `module:function`.
        sockets: open listening sockets.
        settings: number of workers and how long they may take to end.
    """

    def __init__(
        self, path: str, sockets: Sequence[socket.socket], settings: PlatformSettings
    ) -> None:
        self._path = path
        self._sockets = tuple(sockets)
        self._count = settings.workers
        self._workers: dict[SpawnProcess, float] = {}
        self._signals: list[int] = []
        self._wake = threading.Event()

    def run(self) -> int:
        """Supervise until a signal; returns the exit status."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note)
        for _ in range(self._count):
            self._start()
        status = 0
        while not self._signals:
            self._wake.wait(POLL_SECONDS)
            if not self._replace_dead():
                log.error("worker_cannot_start", advice="see the lines above; all workers end")
                status = 1
                break
        self._end()
        return status

    def _note(self, number: int, _: FrameType | None) -> None:
        self._signals.append(number)
        self._wake.set()

    def _start(self) -> None:
        # A fresh interpreter: threads and connections of this process must not be inherited.
        process = multiprocessing.get_context("spawn").Process(
            target=_work, args=(self._path, self._sockets, os.getpid())
        )
        process.start()
        self._workers[process] = time.monotonic()

    def _replace_dead(self) -> bool:
        """Replace workers that died; `False` when one died while it started."""
        for process, started in list(self._workers.items()):
            if process.is_alive():
                continue
            del self._workers[process]
            if time.monotonic() - started < EARLY_DEATH_SECONDS or process.exitcode == os.EX_CONFIG:
                return False
            log.warning("worker_died", pid=process.pid, exit_status=process.exitcode)
            self._start()
        return True

    def _end(self) -> None:
        """Pass the signal on and wait; a second signal is passed on too and ends at once."""
        passed = 0
        while any(process.is_alive() for process in self._workers):
            wanted = self._signals[passed:] or ([] if passed else [signal.SIGTERM])
            for number in wanted:
                passed += 1
                for process in self._workers:
                    if process.is_alive() and process.pid is not None:
                        os.kill(process.pid, number)
            self._wake.clear()
            self._wake.wait(POLL_SECONDS)
        for process in self._workers:
            process.join()


def supervise(path: str, sockets: Sequence[socket.socket], settings: PlatformSettings) -> int:
    """Run `settings.workers` workers until a signal; returns the exit status."""
    configure_logging(settings)
    with tempfile.TemporaryDirectory(prefix="metrics-") as directory:
        os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", directory)
        return Supervisor(path, sockets, settings).run()


def _work(path: str, sockets: Sequence[socket.socket], supervisor: int) -> None:
    """What a worker does."""
    from service_platform.server.runner import serve  # noqa: PLC0415 - in the fresh interpreter

    threading.Thread(target=_end_with_parent, args=(supervisor,), daemon=True).start()
    raise SystemExit(serve(path, sockets))


def _end_with_parent(parent: int) -> None:
    """A worker whose supervisor was killed would hold the port; it drains instead."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os.kill(os.getpid(), signal.SIGTERM)
