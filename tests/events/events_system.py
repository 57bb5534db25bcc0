"""Two replicas of auth and of users as real processes, on a PostgreSQL and a Redis of their own."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from httpx2 import AsyncClient
from redis.asyncio import Redis
from sqlalchemy import text

from auth.settings import AuthSettings
from service_platform.database import Database
from service_testing import programs
from service_testing.databases import TestDatabases
from service_testing.postgres import LocalPostgres
from service_testing.services import CHEAP_HASHES, RunningService, environment_of
from service_testing.valkey import LocalValkey

WAIT_SECONDS = 45.0
SERVICES = ("auth", "users")
PASSWORD = "a long phrase only we know"
STREAM = "events:{auth}"


class System:
    """The running system and what can be done to it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.postgres = LocalPostgres(directory / "postgres", durable=False)
        self.redis_server = LocalValkey(directory / "valkey")
        self.urls: dict[str, str] = {}
        self.replicas: dict[str, list[RunningService]] = {}

    def start(self) -> None:
        with ThreadPoolExecutor() as threads:
            list(threads.map(lambda each: each.start(), (self.postgres, self.redis_server)))
        databases = TestDatabases(self.postgres, self.directory, "events")
        for service in SERVICES:
            self.urls[service] = databases.create(service)
            self.replicas[service] = [self._replica(service) for _ in range(2)]
        everything = [each for replicas in self.replicas.values() for each in replicas]
        for replica in everything:
            replica.start(wait=False)
        for replica in everything:
            replica.wait_until_ready(60.0)

    def _replica(self, service: str) -> RunningService:
        return RunningService(service, self.environment(service), self.directory)

    def environment(self, service: str) -> dict[str, str]:
        first = self.replicas.get("auth")
        return {
            **environment_of(
                service,
                database_url=self.urls[service],
                redis_url=self.redis_server.url,
                auth_url=first[0].url if first else "http://localhost:8003",
            ),
            # Both replicas of auth issue tokens under one name, as behind a gateway.
            "JWT_ISSUER": "http://auth.test",
            "RATE_LIMIT_ENABLED": "false",
            "EVENTS_ATTEMPTS": "3",
            "EVENTS_RETRY_SECONDS": "0.1",
            "EVENTS_CLAIM_SECONDS": "1",
            "EVENTS_POLL_SECONDS": "0.2",
            **CHEAP_HASHES,
        }

    def stop(self) -> None:
        for replicas in self.replicas.values():
            for replica in replicas:
                self.kill(replica)
        for server in (self.postgres, self.redis_server):
            server.remove()

    def kill(self, replica: RunningService) -> None:
        """End a process as the kernel does when memory is short."""
        replica.send_signal(signal.SIGKILL)
        if replica.process is not None:
            replica.process.wait()

    def events(self, *arguments: str, service: str = "auth") -> str:
        """What `python -m service_platform.events` prints in a pod of a service."""
        done = programs.run(
            "service_platform.events",
            *arguments,
            environment=self.environment(service),
            folder=self.directory,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    @asynccontextmanager
    async def database(self, service: str) -> AsyncIterator[Database]:
        """A service's database, for a look at its rows."""
        settings = AuthSettings(
            database_url=self.urls[service],  # pydantic reads text
            environment="test",
        )
        database = Database(settings, migrations=f"{service}.migrations")
        try:
            yield database
        finally:
            await database.stop()

    async def sql(self, service: str, statement: str, **parameters: Any) -> list[Any]:
        """Run a statement; of one column its values, of several tuples."""
        async with self.database(service) as database, database.engine.begin() as connection:
            result = await connection.execute(text(statement), parameters)
            found = result.all() if result.returns_rows else []
        return [row[0] if len(row) == 1 else tuple(row) for row in found]

    def redis(self) -> "Redis":
        return Redis.from_url(self.redis_server.url, protocol=2)


async def until(condition: Callable[[], Awaitable[object]], what: str) -> None:
    """Return when it is so; a test in which it never is ends here."""
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            while not await condition():  # noqa: ASYNC110 - other processes make it so
                await asyncio.sleep(0.05)
    except TimeoutError:
        pytest.fail(f"Not within {WAIT_SECONDS:g} s: {what}")


async def register(client: AsyncClient, url: str, email: str) -> str:
    """Register an account; returns its id."""
    body = {"email": email, "password": PASSWORD, "full_name": "Ada Lovelace"}
    answer = await client.post(f"{url}/api/v1/auth/register", json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def log_in(client: AsyncClient, url: str, email: str) -> dict[str, str]:
    """Log in; returns the header to send."""
    form = {"grant_type": "password", "username": email, "password": PASSWORD}
    answer = await client.post(f"{url}/api/v1/auth/token", data=form)
    assert answer.status_code == 200, answer.text
    return {"authorization": f"Bearer {answer.json()['access_token']}"}
