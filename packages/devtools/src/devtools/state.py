"""What of the local system runs: written by `up`, read by `status`, `logs`, `down` and the rest.

The process that runs the system holds a lock. Without that lock held, whatever the file says is
what a killed process left behind.
"""

import contextlib
import fcntl
import json
import os
import signal
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Final, Literal

from devtools.errors import CommandError
from devtools.project import state_dir
from devtools.services import service_of
from service_testing.processes import command_of

RECEIVER: Final = "otlp"
"""The receiver of spans, where programs have names: in logs, on a terminal."""

GATEWAY: Final = "gateway"
PAGE: Final = "page"
"""The gateway before the services, and the front page behind it."""

BESIDE: Final = (RECEIVER, GATEWAY, PAGE)
"""Every program that may run beside the services."""

Phase = Literal["starting", "ready", "failed", "stopping"]


@dataclass(slots=True)
class ServiceState:
    """One service.

    Attributes:
        port: where it listens.
        pid: of its process; None while there is none.
        state: starting, ready, restarting, stopped.
        restarts: how often it was started again since `up`.
        detail: what it waits for or why it ended, for people.
    """

    port: int
    pid: int | None = None
    state: str = "starting"
    restarts: int = 0
    detail: str = ""


@dataclass(slots=True)
class State:
    """The system as a whole.

    Attributes:
        pid: of the process that runs it.
        phase: how far it is.
        step: what it is doing while it starts, in words.
        message: why it failed, one sentence.
        seconds: how long the start took.
        postgres_url: server-level address with rights to make databases.
        redis_url: of Redis or Valkey.
        local: which of the two were started here.
        services: by name.
        job_workers: what runs the jobs of the services that have some, by the worker's name.
        servers: process ids of the servers started here, by name.
        workers: server processes of each service.
        debugged: services that wait for a debugger at a breakpoint, with its port.
        receiver: what receives the services' spans; None where none was started here.
        gateway: before the services, on the one address for all of them.
        page: the front page behind the gateway.
        https_port: where the gateway listens with TLS; 0 for nowhere.
        otlp_endpoint: where the services send their spans; empty when nowhere.
        otlp_forward_to: where the receiver passes them on to; empty when nowhere.
        sources: where the address of a server comes from that was not started here, by product.
        warnings: what is missing or probably a mistake, one sentence each.
    """

    pid: int
    phase: Phase = "starting"
    step: str = ""
    message: str = ""
    seconds: float = 0.0
    postgres_url: str = ""
    redis_url: str = ""
    local: list[str] = field(default_factory=list)
    services: dict[str, ServiceState] = field(default_factory=dict)
    job_workers: dict[str, ServiceState] = field(default_factory=dict)
    servers: dict[str, int] = field(default_factory=dict)
    workers: int = 1
    debugged: dict[str, int] = field(default_factory=dict)
    receiver: ServiceState | None = None
    gateway: ServiceState | None = None
    page: ServiceState | None = None
    https_port: int = 0
    otlp_endpoint: str = ""
    otlp_forward_to: str = ""
    sources: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def program(self, name: str) -> ServiceState:
        """What is known of a program: a service, or one beside the services."""
        beside = {RECEIVER: self.receiver, GATEWAY: self.gateway, PAGE: self.page}
        found = self.services.get(name) or self.job_workers.get(name) or beside.get(name)
        assert found is not None, name  # noqa: S101 - noted before it is started
        return found

    def save(self) -> None:
        """Replace the file, which is readable by its owner only: it names passwords."""
        path = _file()
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(".new")
        new.unlink(missing_ok=True)
        new.touch(mode=0o600)
        new.write_text(json.dumps(asdict(self)))
        new.replace(path)


class AlreadyRunningError(CommandError):
    """The system runs already; the message says how to look at it and how to end it."""


def take() -> IO[bytes]:
    """Become the process that runs the system, until it ends or the result is closed.

    Raises:
        AlreadyRunningError: when another process is.
    """
    lock = _folder() / "lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    file = lock.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise AlreadyRunningError(
            "It is already running: see `./dev status`, or end it with `./dev down`."
        ) from None
    os.set_inheritable(file.fileno(), False)
    return file


def running() -> State | None:
    """The system that runs now; None when none does."""
    try:
        take().close()
    except AlreadyRunningError:
        return last()
    return None


def last() -> State | None:
    """What was written last, whoever wrote it."""
    try:
        raw = json.loads(_file().read_text())
    except (FileNotFoundError, ValueError):
        return None
    services, job_workers = (
        {name: ServiceState(**each) for name, each in raw.pop(key, {}).items()}
        for key in ("services", "job_workers")
    )
    for name in ("receiver", "gateway", "page"):
        raw[name] = ServiceState(**raw[name]) if raw.get(name) else None
    return State(**raw, services=services, job_workers=job_workers)


def end_leftovers() -> None:
    """End the programs of a run that was killed, where the kernel does not (outside of Linux)."""
    found = last()
    if found is None:
        return
    marks = {f"server {name}.app": service.pid for name, service in found.services.items()}
    for name, worker in found.job_workers.items():
        marks[f"worker {service_of(name)}.app"] = worker.pid
    for mark, program in (
        ("devtools.telemetry.receiver", found.receiver),
        ("caddy run", found.gateway),
        ("devtools.gateway.front_page", found.page),
    ):
        marks[mark] = program.pid if program else None
    for mark, pid in marks.items():
        if pid and mark in command_of(pid):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)


def clear() -> None:
    """Remove the file, at the end of the process that wrote it."""
    _file().unlink(missing_ok=True)


def _folder() -> Path:
    return state_dir() / "run"


def _file() -> Path:
    return _folder() / "state.json"
