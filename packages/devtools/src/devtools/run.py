"""One run of the local system, from the first server's start to the last one's end."""

import asyncio
import os
import signal
import time
from dataclasses import dataclass
from typing import IO, Final

from devtools import databases, dotenv_file, preflight, state
from devtools.addresses import url_of, without_password
from devtools.breakpoints import PORT_VARIABLE
from devtools.credentials import Credentials
from devtools.databases import DatabaseSetupError
from devtools.environment import environment_of, named_in
from devtools.errors import CommandError
from devtools.gateway import starting as gateway
from devtools.log_files import stamped
from devtools.migrations import migrate, waiting
from devtools.program import Program, python
from devtools.project import logs_dir
from devtools.servers import Servers, wanted_port
from devtools.services import Service, platform_source
from devtools.state import ServiceState, State
from devtools.status import until_healthy
from devtools.supervisor import ProgramFailedError, Supervisor, together
from devtools.telemetry import exporting, store
from devtools.terminal import Terminal
from service_testing.errors import LocalServerError

SERVERS_POLL_SECONDS: Final = 1.0
WORKER_PORTS: Final = 1_000
"""Added to the port of a service, for the probes of its worker."""
DEBUG_PORT: Final = 5678
"""Where debuggers look unless told: debugpy's usual port."""
FOR_DEBUGGING: Final = {
    "REQUEST_TIMEOUT_SECONDS": "3600",  # a request may stand at a breakpoint
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",  # of frozen modules, of which none is ours
}


@dataclass(frozen=True, slots=True)
class Wishes:
    """How the system is to run.

    Attributes:
        services: which.
        reload: restart a service when its code changes.
        workers: server processes of each.
        fresh: begin with empty databases.
        offset: added to every port.
        debugged: services whose `breakpoint()` waits for a debugger.
        telemetry: receive and keep the services' spans.
        otlp: URL to which spans go, after they were received here or at once; empty for none.
        https: the gateway listens with TLS, too.
    """

    services: tuple[Service, ...]
    reload: bool = True
    workers: int = 1
    fresh: bool = False
    offset: int = 0
    debugged: tuple[Service, ...] = ()
    telemetry: bool = False
    otlp: str = ""
    https: bool = False


class Run:
    """A run of the system.

    Args:
        terminal: where a person reads what happens.
        wishes: how it is to run.
        background: nobody reads the services' output meanwhile.
    """

    def __init__(self, terminal: Terminal, wishes: Wishes, *, background: bool) -> None:
        self._terminal = terminal
        self._wishes = wishes
        self._background = background
        self._state = State(pid=os.getpid(), workers=wishes.workers)
        self._servers: Servers | None = None
        self._supervisor: Supervisor | None = None
        self._receiver: Supervisor | None = None
        self._gateway: Supervisor | None = None
        self._logs: dict[str, IO[str]] = {}
        self._signals = 0

    async def until_ended(self) -> int:
        """Run; the exit status: 0 when somebody ended it, 1 when something failed."""
        state.end_leftovers()
        began = time.monotonic()
        offset = self._wishes.offset
        self._state.services = {
            service.name: ServiceState(port=service.port + offset)
            for service in self._wishes.services
        }
        self._state.job_workers = {
            service.worker: ServiceState(port=wanted_port(service.port + WORKER_PORTS + offset))
            for service in self._wishes.services
            if service.worker
        }
        self._state.debugged = {
            service.name: DEBUG_PORT + offset + number
            for number, service in enumerate(self._wishes.debugged)
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
        except (CommandError, LocalServerError) as error:
            status = 1
            self._state.phase, self._state.message = "failed", str(error)
            for warning in self._state.warnings if self._state.seconds == 0 else ():
                self._terminal.warn(warning)
            Terminal(stderr=True).failure(str(error))
        finally:
            await self._end()
        return status

    def _asked_to_end(self, work: "asyncio.Task[None]") -> None:
        self._signals += 1
        if self._signals == 1:
            self._terminal.console.print()
            self._terminal.say("Ending; press Ctrl-C again to end at once.")
            work.cancel()
        else:
            for supervisor in self._supervisors():
                supervisor.kill()

    async def _work(self, began: float) -> None:
        self._state.warnings = dotenv_file.mistakes()
        preflight.require_free_ports(self._state)
        # The gateway needs none of the rest to start, and much of the rest is waiting.
        await together((self._start_gateway(), self._start_all_behind()))
        self._terminal.step("Gateway", f"port {self._state.program(state.GATEWAY).port}")
        self._state.seconds = time.monotonic() - began
        self._state.phase, self._state.step = "ready", ""
        self._warn_of_what_is_left_out()
        self._state.save()
        reloads = "Saving a file reloads its service. " if self._wishes.reload else ""
        self._terminal.overview(self._state, f"{reloads}Ctrl-C ends everything.")
        await together((*(each.run() for each in self._supervisors()), self._watch_servers()))

    async def _start_all_behind(self) -> None:
        await self._start_servers()
        await self._start_telemetry()
        await self._prepare_databases()
        await self._start_services()

    async def _start_gateway(self) -> None:
        """Start the one address for all services, and its front page."""
        gateway.choose_ports(self._state, offset=self._wishes.offset, https=self._wishes.https)
        for name in (state.GATEWAY, state.PAGE):
            self._open_log(name)
        self._gateway = Supervisor(
            gateway.programs(self._state),
            heard=self._heard,
            noted=self._noted,
            changed=self._changed,
            reload=False,
        )
        await self._gateway.start()

    async def _start_servers(self) -> None:
        began = time.monotonic()
        if self._wishes.fresh:
            Servers.empty()
        self._servers = Servers(offset=self._wishes.offset)
        self._step("PostgreSQL and Valkey")
        await asyncio.to_thread(self._servers.start, self._state)
        self._state.save()
        seconds = time.monotonic() - began
        local = self._servers.local
        for product, name, variable, url in (
            ("PostgreSQL", "PostgreSQL", "DATABASE_URL", self._state.postgres_url),
            ("Valkey", "Redis", "REDIS_URL", self._state.redis_url),
        ):
            if product in local:
                self._terminal.step(product, f"port {local[product].port}", seconds)
            else:
                self._terminal.step(name, f"{without_password(url)} ({named_in(variable)})")
        if "Valkey" not in local:
            warning = await asyncio.to_thread(preflight.redis_warning, self._state.redis_url)
            self._state.warnings += [warning] if warning else []

    async def _start_telemetry(self) -> None:
        """Start the receiver of spans where it is asked for; the services find it ready."""
        self._state.otlp_endpoint = self._wishes.otlp
        # Both tell of one run, as the logs of the services do.
        store.forget()
        (logs_dir() / f"{state.RECEIVER}.log").unlink(missing_ok=True)
        if not self._wishes.telemetry:
            return
        began = time.monotonic()
        self._step("the receiver of spans")
        usual = exporting.PORT + self._wishes.offset
        port = wanted_port(usual)
        self._state.receiver = ServiceState(port=port)
        self._state.otlp_endpoint = exporting.receiver_url(port)
        self._state.otlp_forward_to = self._wishes.otlp
        self._open_log(state.RECEIVER)
        self._receiver = Supervisor(
            [exporting.receiver_program(port, self._wishes.otlp)],
            heard=self._heard,
            noted=self._noted,
            changed=self._changed,
            reload=False,
        )
        await self._receiver.start()
        taken = "" if port == usual else f", because another program has {usual}"
        self._terminal.step("Telemetry", f"port {port}{taken}", time.monotonic() - began)

    async def _prepare_databases(self) -> None:
        began, keys, url = time.monotonic(), Credentials(), self._state.postgres_url
        self._step("databases")
        ours = "PostgreSQL" in self._state.local
        await databases.make(self._wishes.services, url, keys, ours=ours)
        own = {service: url_of(service, url, keys) for service in self._wishes.services}
        lacking = await asyncio.gather(*(waiting(*each) for each in own.items()))
        todo = [service for service, missing in zip(own, lacking, strict=True) if missing]
        try:
            async with asyncio.TaskGroup() as group:
                for service in todo:
                    group.create_task(migrate(service, self._environment(service)))
        except ExceptionGroup as failures:
            await self._explain_settings()
            raise failures.exceptions[0] from None
        names = ", ".join(service.name for service in todo)
        how = f"migrated {names}" if todo else "up to date"
        self._terminal.step("Databases", how, time.monotonic() - began)

    async def _start_services(self) -> None:
        began = time.monotonic()
        self._step("services")
        for service in self._wishes.services:
            self._open_log(service.name)
        for name in self._state.job_workers:
            self._open_log(name)
        self._supervisor = Supervisor(
            [
                *(self._program(service) for service in self._wishes.services),
                *(self._worker(service) for service in self._wishes.services if service.worker),
            ],
            heard=self._heard,
            noted=self._noted,
            changed=self._changed,
            reload=self._wishes.reload,
            reloaded=self._tell_waiting_migrations,
        )
        try:
            await self._supervisor.start()
        except ProgramFailedError as error:
            if error.status == os.EX_CONFIG:
                await self._explain_settings()
            raise
        await self._until_settled()
        names = ", ".join(service.name for service in self._wishes.services)
        self._terminal.step("Services", names, time.monotonic() - began)

    async def _explain_settings(self) -> None:
        """Raise an error that names all wrong settings of all services, where there are any."""
        environments = {service: self._environment(service) for service in self._wishes.services}
        if mistakes := await preflight.settings_mistakes(environments):
            raise CommandError(preflight.settings_sentence(mistakes))

    async def _until_settled(self) -> None:
        """Wait for what a service gets from another one, such as auth's keys."""
        if any(warning.startswith("Redis at") for warning in self._state.warnings):
            return  # nothing will be wholly well
        running = {service.name for service in self._wishes.services}
        await until_healthy(
            service.port + self._wishes.offset
            for service in self._wishes.services
            if all(name in running for name, _ in service.needs)
        )

    async def _watch_servers(self) -> None:
        """Start PostgreSQL and Valkey again when they end, where they are ours."""
        assert self._servers is not None  # noqa: S101 - started before
        while True:
            await asyncio.sleep(SERVERS_POLL_SECONDS)
            for product in self._servers.ended():
                self._terminal.say(f"{product} has ended and is started again.")
                await asyncio.to_thread(self._servers.restart, product, self._state)
                self._state.save()

    async def _tell_waiting_migrations(self, name: str) -> None:
        """After a reload, say what the new code needs and the database lacks."""
        service = next((each for each in self._wishes.services if each.name == name), None)
        if service is None:  # a worker, of whose service the same is said
            return
        try:
            url = url_of(service, self._state.postgres_url, Credentials())
            missing = await waiting(service, url)
        except DatabaseSetupError as error:
            self._noted(name, str(error).rstrip("."))
            return
        if missing:
            names = ", ".join(missing)
            self._noted(name, f"its database lacks {names}; run ./dev migrate up {name}")

    def _environment(self, service: Service) -> dict[str, str]:
        environment = environment_of(
            service, self._state, offset=self._wishes.offset, workers=self._wishes.workers
        )
        if port := self._state.debugged.get(service.name):
            more = {PORT_VARIABLE: str(port), "WORKERS": "1", **FOR_DEBUGGING}
            environment |= more
        return gateway.before(environment)

    def _program(self, service: Service) -> Program:
        debugged = service.name in self._state.debugged
        module = "devtools.debugged_server" if debugged else "service_platform.server"
        return Program(
            name=service.name,
            command=python("-m", module, service.app),
            environment=self._environment(service),
            port=service.port + self._wishes.offset,
            watched=(service.source, platform_source()),
            # Not needed to start, but then its first look at another one would fail and be logged.
            after=tuple(name for name, _ in service.needs),
        )

    def _worker(self, service: Service) -> Program:
        """What runs the jobs of a service."""
        port = self._state.job_workers[service.worker].port
        environment = environment_of(service, self._state, offset=self._wishes.offset)
        return Program(
            name=service.worker,
            command=python("-m", "service_platform.worker", service.app),
            environment={**environment, "PORT": str(port)},
            port=port,
            watched=(service.source, platform_source()),
            after=(service.name,),
        )

    def _warn_of_what_is_left_out(self) -> None:
        running = {service.name for service in self._wishes.services}
        self._state.warnings += [
            f"{service.name} runs without {name}, which {loss}; add --only {name}."
            for service in self._wishes.services
            for name, loss in service.needs
            if name not in running
        ]

    def _step(self, what: str) -> None:
        self._state.step = what
        self._state.save()

    def _open_log(self, name: str) -> None:
        logs_dir().mkdir(parents=True, exist_ok=True)
        self._logs[name] = (logs_dir() / f"{name}.log").open("w", buffering=1)

    def _supervisors(self) -> list[Supervisor]:
        """Those that have been started, in this order."""
        started = (self._gateway, self._receiver, self._supervisor)
        return [each for each in started if each is not None]

    def _heard(self, name: str, line: str) -> None:
        self._logs[name].write(f"{stamped(line)}\n")
        if not self._background:
            self._terminal.heard(name, line)

    def _noted(self, name: str, text: str) -> None:
        self._logs[name].write(f"{stamped(text)}.\n")
        self._terminal.noted(name, text)

    def _changed(self, name: str, new: str, pid: int | None, detail: str = "") -> None:
        service = self._state.program(name)
        service.restarts += new == "restarting" and pid is not None
        service.state, service.pid, service.detail = new, pid, detail
        self._state.save()

    async def _end(self) -> None:
        """Stop services, then the rest; keep the reason of a failure for whoever asks later."""
        failed = self._state.phase == "failed"
        self._state.save()
        for supervisor in reversed(self._supervisors()):  # the last spans come when services end
            await supervisor.stop()
        if self._servers is not None:
            await asyncio.to_thread(self._servers.stop)
        for log in self._logs.values():
            log.close()
        if not failed:
            state.clear()
            self._terminal.say("Everything has ended.")
