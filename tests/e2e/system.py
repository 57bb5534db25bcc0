"""The running system that the tests speak to: there before, or started for them."""

import asyncio
import json
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.request import urlopen

import devtools.services
from service_testing import programs
from service_testing.databases import TestDatabases
from service_testing.ports import HOST, free_port
from service_testing.services import CHEAP_HASHES, RunningService, environment_of
from service_testing.valkey import LocalValkey

SERVICES = tuple(service.name for service in devtools.services.SERVICES)
START_SECONDS = 60.0
LOG_SECONDS = 10.0


@dataclass
class System:
    """Where the services are.

    Attributes:
        urls: address of each.
        processes: of each, where it was started for the tests; empty where it was there before.
        behind_gateway: whether a gateway is between, which passes on the API and nothing else.
    """

    urls: dict[str, str]
    processes: dict[str, RunningService] = field(default_factory=dict)
    behind_gateway: bool = False

    def api(self, service: str, path: str) -> str:
        """The address of a path of a service's API, such as `/users/me`."""
        return f"{self.urls[service]}/api/v1{path}"


def given_system(environment: Mapping[str, str]) -> System | None:
    """The system that the environment variables of `conftest` tell of; None when they do not.

    Raises:
        LookupError: they tell of some services only.
    """
    gateway = environment.get("E2E_BASE_URL", "").rstrip("/")
    own = {name: environment.get(f"E2E_{name.upper()}_URL", "").rstrip("/") for name in SERVICES}
    urls = {name: url or gateway for name, url in own.items()}
    if not any(urls.values()):
        return None
    missing = ", ".join(f"E2E_{name.upper()}_URL" for name in SERVICES if not urls[name])
    if missing:
        raise LookupError(f"Set {missing} too, or E2E_BASE_URL for all.")
    return System(urls, behind_gateway=not all(own.values()))


class StartedSystem(System):
    """Services started for the tests, each a process of its own, on a Valkey of their own.

    Nothing runs inside of the `with` block at first but Valkey; see `start`.

    Args:
        databases: where each service gets one.
        folder: for logs and Valkey.
        **settings: of all services, by the names of their environment variables.

    Attributes:
        redis: what the services share; a test may kill it.
        replicas: everything started, also what is not the first of its service.
    """

    def __init__(self, databases: TestDatabases, folder: Path, **settings: str) -> None:
        super().__init__({name: f"http://{HOST}:{free_port()}" for name in SERVICES})
        self.redis = LocalValkey(folder / "valkey", durable=False)
        self.replicas: list[RunningService] = []
        self._databases = databases
        self._database_urls: dict[str, str] = {}
        self._folder = folder
        self._settings = {**CHEAP_HASHES, "LOG_FORMAT": "json", **settings}

    def __enter__(self) -> "StartedSystem":
        self.redis.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        stop_all(self.replicas)
        self.redis.remove()
        for url in self._database_urls.values():
            self._databases.drop(url)

    def start(self, *services: str) -> list[RunningService]:
        """Start services side by side, without waiting for them; see `wait_until_healthy`.

        The first of its name listens on the address the others know it by; a further one is a
        replica of it.
        """
        return [self._start(service) for service in services]

    def restore(self) -> None:
        """Bring back what a test has ended, and end what it has added."""
        first = list(self.processes.values())
        stop_all([each for each in self.replicas if each not in first])
        self.replicas = first
        if not self.redis.running:
            self.redis.start()
        for each in first:
            if each.process is None or each.process.poll() is not None:
                each.start(wait=False)

    def wait_until_healthy(self) -> None:
        """Return when all say so; one that is ready before auth has to wait for its keys."""
        deadline = time.monotonic() + START_SECONDS
        for each in self.replicas:
            each.wait_until_ready(deadline - time.monotonic())
        for each in self.replicas:
            while health_of(each) != "healthy":
                assert time.monotonic() < deadline, each.output()
                time.sleep(0.05)

    async def command(self, *arguments: str) -> str:
        """Run `python -m auth …` as an operator does; what it prints."""
        done = await asyncio.to_thread(
            programs.run,
            "auth",
            *arguments,
            environment=self._environment("auth"),
            folder=self._folder,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    def database_url(self, service: str) -> str:
        """The address of a service's database, which is made when first asked for."""
        if service not in self._database_urls:
            self._database_urls[service] = self._databases.create(service)
        return self._database_urls[service]

    def _start(self, service: str) -> RunningService:
        first = service not in self.processes
        made = RunningService(
            service,
            self._environment(service),
            self._folder,
            port=int(self.urls[service].rpartition(":")[2]) if first else None,
        )
        if first:
            self.processes[service] = made
        self.replicas.append(made)
        return made.start(wait=False)

    def _environment(self, service: str) -> dict[str, str]:
        servers = environment_of(
            service,
            database_url=self.database_url(service),
            redis_url=self.redis.url,
            auth_url=self.urls["auth"],
        )
        return {**servers, **self._settings}


def health_of(process: RunningService) -> str:
    """What a process says of itself: healthy, degraded or unhealthy."""
    with urlopen(f"{process.url}/health") as answer:
        return str(json.load(answer)["status"])


async def logged(process: RunningService, text: str, **members: str) -> dict[str, Any]:
    """The log's line with a text and these members; lines are written in batches."""
    async with asyncio.timeout(LOG_SECONDS):
        while True:
            for line in process.output().split("\n"):
                event: dict[str, Any] = json.loads(line) if text in line else {}
                if event and members.items() <= event.items():
                    return event
            await asyncio.sleep(0.02)


def stop_all(processes: list[RunningService]) -> None:
    """End processes side by side."""
    if processes:
        with ThreadPoolExecutor(len(processes)) as threads:
            list(threads.map(lambda each: each.stop(), processes))
