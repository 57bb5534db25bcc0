"""Several real services on one Redis, each a process of its own."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest

from service_platform.testing.databases import TestDatabases
from service_platform.testing.local_servers import LocalValkey, free_port
from service_platform.testing.services import CHEAP_HASHES, RunningService, environment_of

PASSWORD = "a long phrase only we know"
PATHS = {"items": "/api/v1/items", "users": "/api/v1/users/me"}
"""A route of each service that answers any account's token with 200."""


@dataclass
class System:
    """Auth and the services behind it.

    Attributes:
        redis: what they share; a test may kill it.
        issuer: public address of auth.
        http: a client for all of them.
    """

    databases: TestDatabases
    redis: LocalValkey
    folder: Path
    issuer: str
    http: httpx2.AsyncClient
    running: list[RunningService] = field(default_factory=list)
    urls: dict[str, str] = field(default_factory=dict)

    def environment(self, service: str, **settings: str) -> dict[str, str]:
        if service not in self.urls:
            self.urls[service] = self.databases.create(service)
        common = environment_of(
            service,
            database_url=self.urls[service],
            redis_url=self.redis.url,
            auth_url=self.issuer,
        )
        return {**common, **CHEAP_HASHES, "RATE_LIMIT_ENABLED": "false", **settings}

    def start(self, service: str, *, wait: bool = True, **settings: str) -> RunningService:
        made = RunningService(service, self.environment(service, **settings), self.folder)
        self.running.append(made)
        return made.start(wait=wait)

    def start_auth(self, *, wait: bool = True, **settings: str) -> RunningService:
        """The auth that listens on the issuer's address."""
        port = int(self.issuer.rpartition(":")[2])
        made = RunningService("auth", self.environment("auth", **settings), self.folder, port=port)
        self.running.append(made)
        return made.start(wait=wait)

    async def wait_until_healthy(self) -> None:
        """Starting services with `wait=False` before lets them start side by side.

        One that was up before auth is ready without its keys, and healthy once it has them.
        """
        for each in self.running:
            await asyncio.to_thread(each.wait_until_ready)
        for each in self.running:
            async with asyncio.timeout(15):
                while (await self.http.get(f"{each.url}/health")).json()["status"] != "healthy":  # noqa: ASYNC110
                    await asyncio.sleep(0.05)

    async def command(self, *arguments: str, **settings: str) -> str:
        """`python -m auth …`."""
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry),
            **self.environment("auth", **settings),
        }
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "auth", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return str(done.stdout)

    async def account(self, email: str) -> "Login":
        body = {"email": email, "password": PASSWORD}
        answer = await self.http.post(f"{self.issuer}/api/v1/auth/register", json=body)
        assert answer.status_code == 201, answer.text
        made = Login(self, email, answer.json()["id"])
        await made.log_in()
        return made


@dataclass
class Login:
    """One session of an account."""

    system: System
    email: str
    account: str
    tokens: dict[str, Any] = field(default_factory=dict)

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.tokens['access_token']}"}

    async def post_token(self, at: str | None = None, **form: str) -> httpx2.Response:
        url = f"{at or self.system.issuer}/api/v1/auth/token"
        return await self.system.http.post(url, data=form)

    async def log_in(self) -> None:
        answer = await self.post_token(
            grant_type="password", username=self.email, password=PASSWORD
        )
        assert answer.status_code == 200, answer.text
        self.tokens = answer.json()

    async def refresh(self, token: str | None = None, at: str | None = None) -> httpx2.Response:
        return await self.post_token(
            at, grant_type="refresh_token", refresh_token=token or self.tokens["refresh_token"]
        )

    async def status_at(self, service: RunningService) -> int:
        path = PATHS[service.service.partition(".")[0]]
        answer = await self.system.http.get(service.url + path, headers=self.headers)
        return answer.status_code


@pytest.fixture
async def system(
    databases: TestDatabases, own_redis: LocalValkey, tmp_path: Path
) -> AsyncIterator[System]:
    """Nothing runs yet but Redis and PostgreSQL."""
    async with httpx2.AsyncClient(timeout=20, trust_env=False) as http:
        issuer = f"http://127.0.0.1:{free_port()}"
        made = System(databases, own_redis, tmp_path, issuer, http)
        yield made
        await asyncio.gather(*(asyncio.to_thread(each.stop) for each in made.running))
        for url in made.urls.values():
            databases.drop(url)


async def requests_to(service: RunningService) -> int:
    """How many requests a service has answered, by its access log; probes are not in it."""
    await asyncio.sleep(0.1)  # lines are written in batches
    lines = (line for line in service.output().splitlines() if line.startswith("{"))
    return sum(orjson.loads(line)["logger"] == "access" for line in lines)


async def within_a_second(condition: Callable[[], Awaitable[bool]]) -> None:
    """Return when the condition holds; fail when that takes a second."""
    async with asyncio.timeout(1.0):
        while not await condition():  # noqa: ASYNC110 - it is about other programs
            await asyncio.sleep(0.01)
