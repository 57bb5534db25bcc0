"""Several server processes on one machine, for where no orchestrator runs replicas.

Each worker is a whole process with its own event loop; all accept from one socket. A worker that
dies is replaced, after a while that grows where they die again and again; where none can start,
everything ends. Signals are passed on, so every worker drains as a single process would. `/metrics`
of any worker answers for all of them.
"""

import multiprocessing
import os
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.context import SpawnProcess
from multiprocessing.synchronize import Event
from types import FrameType
from typing import Final

from prometheus_client.multiprocess import mark_process_dead

from service_platform.logging import configure_logging, get_logger
from service_platform.settings import PlatformSettings

POLL_SECONDS: Final = 0.2
STEADY_SECONDS: Final = 60.0
"""A worker that lived this long did not die of its start."""
LONGEST_DELAY_SECONDS: Final = 30.0

log = get_logger("service_platform.server")


def restart_delay(failures: int) -> float:
    """Return the seconds to wait before a worker is replaced: 0, 1, 2, 4 and so on up to 30.

    Args:
        failures: workers that died in a row without having been steady.
    """
    if failures <= 1:
        return 0.0
    return float(min(LONGEST_DELAY_SECONDS, 2.0 ** min(failures - 2, 16)))


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker process, when it was made, and whether it has begun to accept."""

    process: SpawnProcess
    made: float
    ready: Event


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
        self._workers: list[Worker] = []
        self._proven = False
        self._failures = 0
        self._due: list[float] = []
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
        context = multiprocessing.get_context("spawn")
        ready = context.Event()
        process = context.Process(
            target=_work, args=(self._path, self._sockets, os.getpid(), ready)
        )
        process.start()
        self._workers.append(Worker(process, time.monotonic(), ready))

    def _replace_dead(self) -> bool:
        """Replace workers that died; returns `False` when none can start."""
        now = time.monotonic()
        self._proven = self._proven or any(worker.ready.is_set() for worker in self._workers)
        for worker in [each for each in self._workers if not each.process.is_alive()]:
            self._workers.remove(worker)
            if worker.process.exitcode == os.EX_CONFIG or not self._proven:
                return False
            mark_process_dead(worker.process.pid)  # type: ignore[no-untyped-call]
            steady = now - worker.made >= STEADY_SECONDS
            self._failures = 1 if steady else self._failures + 1
            delay = restart_delay(self._failures)
            log.warning(
                "worker_died",
                pid=worker.process.pid,
                exit_status=worker.process.exitcode,
                replaced_in_seconds=delay,
            )
            self._due.append(now + delay)
        for due in [each for each in self._due if each <= now]:
            self._due.remove(due)
            self._start()
        return True

    def _end(self) -> None:
        """Pass the signal on and wait; a second signal is passed on too and ends at once."""
        passed = 0
        processes = [worker.process for worker in self._workers]
        while any(process.is_alive() for process in processes):
            wanted = self._signals[passed:] or ([] if passed else [signal.SIGTERM])
            for number in wanted:
                passed += 1
                for process in processes:
                    if process.is_alive() and process.pid is not None:
                        os.kill(process.pid, number)
            self._wake.clear()
            self._wake.wait(POLL_SECONDS)
        for process in processes:
            process.join()


def supervise(path: str, sockets: Sequence[socket.socket], settings: PlatformSettings) -> int:
    """Run `settings.workers` workers until a signal; returns the exit status."""
    configure_logging(settings)
    with tempfile.TemporaryDirectory(prefix="metrics-") as directory:
        os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", directory)
        return Supervisor(path, sockets, settings).run()


def _work(path: str, sockets: Sequence[socket.socket], supervisor: int, ready: Event) -> None:
    """Serve in a worker process."""
    from service_platform.server.runner import serve  # noqa: PLC0415 - in the fresh interpreter

    threading.Thread(target=_end_with_parent, args=(supervisor,), daemon=True).start()
    raise SystemExit(serve(path, sockets, ready.set))


def _end_with_parent(parent: int) -> None:
    """Drain once the supervisor is gone: a worker without one would hold the port."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os.kill(os.getpid(), signal.SIGTERM)
