"""The system the journeys run against: one that is there, or one started for them.

| variable | is |
|---|---|
| `E2E_BASE_URL` | one address for all services, such as a gateway's |
| `E2E_AUTH_URL`, `E2E_USERS_URL`, `E2E_ITEMS_URL` | an address for each, such as of `./dev up` |

Where none is set, the three services are started, each a process of its own, on the PostgreSQL and
Valkey of the test run.
"""

import os
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from httpx2 import AsyncClient, Client, Response

from service_platform.testing.databases import TestDatabases
from service_platform.testing.local_servers import LocalValkey, free_port
from service_platform.testing.services import CHEAP_HASHES, RunningService, environment_of

SERVICES = ("auth", "users", "items")
PASSWORD = "a long phrase only we know"
BEHIND_A_PROXY = {"TRUSTED_PROXIES": "127.0.0.1/32"}
"""The tests speak to the services as their proxy does."""


@dataclass
class System:
    """Where the services are.

    Attributes:
        urls: address of each.
        processes: those started for this run; empty where the system was there before.
        behind_gateway: whether all have one address, where probes are not reached.
    """

    urls: dict[str, str]
    processes: dict[str, RunningService] = field(default_factory=dict)
    behind_gateway: bool = False


@pytest.fixture(scope="session")
def system(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[System]:
    """The running system."""
    gateway = os.environ.get("E2E_BASE_URL", "").rstrip("/")
    own = {name: os.environ.get(f"E2E_{name.upper()}_URL", "").rstrip("/") for name in SERVICES}
    given = {name: url or gateway for name, url in own.items()}
    if all(given.values()):
        yield System(given, behind_gateway=not all(own.values()))
        return
    if any(given.values()):
        missing = ", ".join(f"E2E_{name.upper()}_URL" for name in SERVICES if not given[name])
        pytest.exit(f"Set {missing} too, or E2E_BASE_URL for all.", returncode=4)
    made = System({})
    databases: TestDatabases = request.getfixturevalue("databases")
    redis = LocalValkey(tmp_path_factory.mktemp("valkey") / "data", durable=False)
    redis.start()
    try:
        start_all(made, databases, redis, tmp_path_factory)
        yield made
    finally:
        for process in made.processes.values():
            process.stop()
        redis.remove()


def start_all(
    system: System,
    databases: TestDatabases,
    redis: LocalValkey,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Start the three services and wait until they are ready."""
    folder = tmp_path_factory.mktemp("services")
    ports = {name: free_port() for name in SERVICES}
    for name in SERVICES:
        environment = environment_of(
            name,
            database_url=databases.create(name),
            redis_url=redis.url,
            auth_url=f"http://127.0.0.1:{ports['auth']}",
        )
        settings = {**environment, **CHEAP_HASHES, **BEHIND_A_PROXY, "LOG_FORMAT": "json"}
        process = RunningService(name, settings, folder, port=ports[name])
        system.processes[name] = process
        system.urls[name] = process.url
        process.start(wait=False)
    for process in system.processes.values():
        process.wait_until_ready(60.0)


class Person:
    """An account and what its owner does."""

    def __init__(self, http: AsyncClient, system: System) -> None:
        self.http = http
        self.urls = system.urls
        self.email = f"e2e-{uuid.uuid4().hex}@example.com"
        self.account: dict[str, Any] = {}
        self.tokens: dict[str, Any] = {}

    async def register(self) -> Response:
        body = {"email": self.email, "password": PASSWORD, "full_name": "Ada Lovelace"}
        answer = await self.http.post(f"{self.urls['auth']}/api/v1/auth/register", json=body)
        self.account = answer.json()
        return answer

    async def log_in(self) -> Response:
        return await self._token(grant_type="password", username=self.email, password=PASSWORD)

    async def refresh(self) -> Response:
        return await self._token(
            grant_type="refresh_token", refresh_token=self.tokens["refresh_token"]
        )

    async def _token(self, **form: str) -> Response:
        answer = await self.http.post(f"{self.urls['auth']}/api/v1/auth/token", data=form)
        if answer.is_success:
            self.tokens = answer.json()
        return answer

    async def send(
        self,
        service: str,
        method: str,
        path: str,
        headers: dict[str, str] | None = None,
        **body: Any,
    ) -> Response:
        """Send a request with the person's token."""
        authorization = {"authorization": f"Bearer {self.tokens['access_token']}"}
        return await self.http.request(
            method,
            f"{self.urls[service]}/api/v1{path}",
            headers={**authorization, **(headers or {})},
            **body,
        )


@pytest.fixture
async def http() -> AsyncIterator[AsyncClient]:
    async with AsyncClient(timeout=30, trust_env=False) as client:
        yield client


async def new_person(http: AsyncClient, system: System) -> Person:
    """Somebody registered and logged in."""
    person = Person(http, system)
    registered = await person.register()
    assert registered.status_code == 201, registered.text
    assert (await person.log_in()).status_code == 200
    return person


@pytest.fixture(scope="session")
def known_tokens(system: System) -> dict[str, Any]:
    """Tokens of one account for many tests: registrations are limited, also for tests."""
    credentials = {"email": f"e2e-{uuid.uuid4().hex}@example.com", "password": PASSWORD}
    auth = f"{system.urls['auth']}/api/v1/auth"
    form = {"grant_type": "password", "username": credentials["email"], "password": PASSWORD}
    with Client(timeout=30, trust_env=False) as client:
        client.post(f"{auth}/register", json=credentials).raise_for_status()
        answer = client.post(f"{auth}/token", data=form).raise_for_status()
    tokens: dict[str, Any] = answer.json()
    return tokens


@pytest.fixture
async def somebody(http: AsyncClient, system: System, known_tokens: dict[str, Any]) -> Person:
    """An account whose state does not matter."""
    person = Person(http, system)
    person.tokens = known_tokens
    return person


@pytest.fixture
async def ada(http: AsyncClient, system: System) -> Person:
    return await new_person(http, system)


@pytest.fixture
async def eve(http: AsyncClient, system: System) -> Person:
    return await new_person(http, system)
