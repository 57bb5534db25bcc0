"""`./dev up`: the whole system on this machine, until Ctrl-C or `./dev down`."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import IO, Annotated, Final

import typer

from devtools import databases, state
from devtools.addresses import url_of, without_password
from devtools.credentials import Credentials
from devtools.databases import DatabaseSetupError
from devtools.environment import environment_of
from devtools.program import Program, python
from devtools.project import ROOT, logs_dir
from devtools.servers import Servers, ServerSettingError
from devtools.services import Service, UnknownServiceError, chosen, platform_source
from devtools.state import AlreadyRunningError, ServiceState, State
from devtools.status import health
from devtools.supervisor import ProgramFailedError, Supervisor
from devtools.terminal import Terminal
from service_testing.errors import LocalServerError

BACKGROUND_LOG: Final = "dev.log"
SETTLE_SECONDS: Final = 6.0
SETTLE_POLL_SECONDS: Final = 0.1
EXPECTED: Final = (
    AlreadyRunningError,
    DatabaseSetupError,
    LocalServerError,
    ProgramFailedError,
    ServerSettingError,
    UnknownServiceError,
)
"""What can go wrong without a mistake of ours: told in one sentence, without a traceback."""


class PortTakenError(ProgramFailedError):
    """Another program listens where a service should."""


def up(
    only: Annotated[
        list[str] | None, typer.Option(help="Only this service; may be repeated.")
    ] = None,
    *,
    reload: Annotated[bool, typer.Option(help="Restart a service when its code changes.")] = True,
    workers: Annotated[
        int, typer.Option(min=1, max=64, help="Server processes of each service.")
    ] = 1,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Return when all is ready; see logs, down.")
    ] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Begin with empty databases.")] = False,
    port_offset: Annotated[
        int, typer.Option(min=0, max=50_000, help="Add this to every port.")
    ] = 0,
    background: Annotated[bool, typer.Option("--background", hidden=True)] = False,
) -> None:
    """Run PostgreSQL, Valkey and the services; Ctrl-C ends everything.

    DATABASE_URL and REDIS_URL name servers to use instead of starting them.
    """
    terminal = Terminal()
    try:
        services = chosen(only)
        if detach:
            raise typer.Exit(_start_in_background(terminal))
        lock = state.take()
    except EXPECTED as error:
        terminal.failure(str(error))
        raise typer.Exit(1) from None
    run = _Run(
        terminal, services, reload=reload, workers=workers, fresh=fresh, offset=port_offset,
        background=background,
    )  # fmt: skip
    with lock:
        status = asyncio.run(run.until_ended())
    raise typer.Exit(status)


class _Run:
    """One run of the system, from the first server's start to the last one's end."""

    def __init__(
        self,
        terminal: Terminal,
        services: Sequence[Service],
        *,
        reload: bool,
        workers: int,
        fresh: bool,
        offset: int,
        background: bool,
    ) -> None:
        self._terminal = terminal
        self._services = services
        self._reload = reload
        self._workers = workers
        self._fresh = fresh
        self._offset = offset
        self._background = background
        self._state = State(pid=os.getpid())
        self._servers: Servers | None = None
        self._supervisor: Supervisor | None = None
        self._logs: dict[str, IO[str]] = {}
        self._signals = 0

    async def until_ended(self) -> int:
        """Run; the exit status: 0 when somebody ended it, 1 when something failed."""
        state.end_leftovers()
        began = time.monotonic()
        self._state.services = {
            service.name: ServiceState(port=service.port + self._offset)
            for service in self._services
        }
        self._state.save()
        work = asyncio.create_task(self._work(began))
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._asked_to_end, work)
        status = 0
        try:
            await work
        except asyncio.CancelledError:
            self._state.phase = "stopping"
        except EXPECTED as error:
            status = 1
            self._state.phase, self._state.message = "failed", str(error)
            self._terminal.failure(str(error))
        finally:
            await self._end()
        return status

    def _asked_to_end(self, work: "asyncio.Task[None]") -> None:
        self._signals += 1
        if self._signals == 1:
            self._terminal.console.print()
            self._terminal.say("Ending; press Ctrl-C again to end at once.")
            work.cancel()
        elif self._supervisor is not None:
            self._supervisor.kill()

    async def _work(self, began: float) -> None:
        _require_free_ports(self._state)
        await self._start_servers()
        await self._prepare_databases()
        await self._start_services()
        self._state.seconds = time.monotonic() - began
        self._state.phase, self._state.step = "ready", ""
        self._state.save()
        self._explain_what_is_missing()
        reloads = "Saving a file reloads its service. " if self._reload else ""
        self._terminal.overview(self._state, f"{reloads}Ctrl-C ends everything.")
        assert self._supervisor is not None  # noqa: S101 - started above
        await self._supervisor.run()

    async def _start_servers(self) -> None:
        began = time.monotonic()
        if self._fresh:
            Servers.empty()
        self._servers = Servers(offset=self._offset)
        self._step("PostgreSQL and Valkey")
        await asyncio.to_thread(self._servers.start, self._state)
        self._state.save()
        seconds = time.monotonic() - began
        for product, url in (
            ("PostgreSQL", self._state.postgres_url),
            ("Valkey", self._state.redis_url),
        ):
            local = product in self._state.local
            shown = f"port {self._servers.local[product].port}" if local else _address(url)
            self._terminal.step(
                product if local else product.replace("Valkey", "Redis"),
                shown,
                seconds if local else None,
            )

    async def _prepare_databases(self) -> None:
        began, keys, url = time.monotonic(), Credentials(), self._state.postgres_url
        self._step("databases")
        await databases.make(self._services, url, keys)
        own = {service: url_of(service, url, keys) for service in self._services}
        lacking = await asyncio.gather(*(databases.behind(*each) for each in own.items()))
        todo = [service for service, behind in zip(own, lacking, strict=True) if behind]
        try:
            async with asyncio.TaskGroup() as group:
                for service in todo:
                    environment = environment_of(service, self._state, offset=self._offset)
                    group.create_task(databases.migrate(service, environment))
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        names = ", ".join(service.name for service in todo)
        how = f"migrated {names}" if todo else "up to date"
        self._terminal.step("Databases", how, time.monotonic() - began)

    async def _start_services(self) -> None:
        began = time.monotonic()
        self._step("services")
        logs_dir().mkdir(parents=True, exist_ok=True)
        for service in self._services:
            file = logs_dir() / f"{service.name}.log"
            self._logs[service.name] = file.open("w", buffering=1)
        self._supervisor = Supervisor(
            [self._program(service) for service in self._services],
            heard=self._heard,
            noted=self._noted,
            changed=self._changed,
            reload=self._reload,
        )
        await self._supervisor.start()
        await self._until_settled()
        names = ", ".join(service.name for service in self._services)
        self._terminal.step("Services", names, time.monotonic() - began)

    async def _until_settled(self) -> None:
        """Wait for what a service gets from another one, such as auth's keys; it asks again soon.

        Somebody who reads "Ready" and pastes the first request must not meet a 503.
        """
        running = {service.name for service in self._services}
        complete = [
            service.port + self._offset
            for service in self._services
            if all(name in running for name, _ in service.needs)
        ]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_SECONDS):
                while complete:
                    found = await asyncio.gather(
                        *(asyncio.to_thread(health, port) for port in complete)
                    )
                    complete = [
                        port
                        for port, (word, _) in zip(complete, found, strict=True)
                        if word != "healthy"
                    ]
                    await asyncio.sleep(SETTLE_POLL_SECONDS if complete else 0)

    def _program(self, service: Service) -> Program:
        return Program(
            name=service.name,
            command=python("-m", "service_platform.server", service.app),
            environment=environment_of(
                service, self._state, offset=self._offset, workers=self._workers
            ),
            port=service.port + self._offset,
            watched=(service.source, platform_source()),
            # Not needed to start, but then its first look at another one would fail and be logged.
            after=tuple(name for name, _ in service.needs),
        )

    def _explain_what_is_missing(self) -> None:
        running = {service.name for service in self._services}
        for service in self._services:
            for name, loss in service.needs:
                if name not in running:
                    self._terminal.say(
                        f"{service.name} runs without {name}, which {loss}; add --only {name}."
                    )

    def _step(self, what: str) -> None:
        self._state.step = what
        self._state.save()

    def _heard(self, name: str, line: str) -> None:
        self._logs[name].write(f"{line}\n")
        if not self._background:
            self._terminal.heard(name, line)

    def _noted(self, name: str, text: str) -> None:
        self._logs[name].write(f"{text}.\n")
        self._terminal.noted(name, text)

    def _changed(self, name: str, new: str, pid: int | None) -> None:
        service = self._state.services[name]
        service.restarts += new == "restarting" and pid is not None
        service.state, service.pid = new, pid
        self._state.save()

    async def _end(self) -> None:
        """Stop services, then servers; keep the reason of a failure for whoever asks later."""
        failed = self._state.phase == "failed"
        self._state.save()
        if self._supervisor is not None:
            await self._supervisor.stop()
        if self._servers is not None:
            await asyncio.to_thread(self._servers.stop)
        for log in self._logs.values():
            log.close()
        if not failed:
            state.clear()
            self._terminal.say("Everything has ended.")


def _require_free_ports(starting: State) -> None:
    for name, service in starting.services.items():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", service.port))
            except OSError:
                raise PortTakenError(
                    f"Port {service.port}, which {name} needs, is taken by another program; "
                    "end that program, or add --port-offset 100."
                ) from None


def _address(url: str) -> str:
    return without_password(url)


def _start_in_background(terminal: Terminal) -> int:
    """Start the same command without a terminal and wait until it is ready; the exit status."""
    state.take().close()  # says at once when it runs already
    state.clear()
    logs_dir().mkdir(parents=True, exist_ok=True)
    arguments = [each for each in sys.argv[1:] if each not in {"--detach", "-d"}]
    log_file = logs_dir() / BACKGROUND_LOG
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
    if found is not None and found.message:
        terminal.failure(found.message)
    else:
        terminal.failure(f"It ended while starting; its output is in {log_file}.")
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
