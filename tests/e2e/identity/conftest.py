"""What accounts, tokens and keys do where services end, restart and lose their Redis.

These tests do to a system what no other one would survive, so they have their own.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import orjson
import pytest
from httpx2 import AsyncClient
from tests.e2e.people import Person, new_person
from tests.e2e.system import SERVICES, StartedSystem, System

from service_testing.databases import TestDatabases
from service_testing.services import RunningService

NewPerson = Callable[[], Awaitable[Person]]

UNLIMITED = {"RATE_LIMIT_ENABLED": "false"}


@pytest.fixture(scope="session")
def own_databases(given: System | None, request: pytest.FixtureRequest) -> TestDatabases:
    """Databases for services of these tests."""
    if given is not None:
        pytest.skip("These tests start and end services of their own.")
    databases: TestDatabases = request.getfixturevalue("databases")
    return databases


@pytest.fixture(scope="session")
def _shared_system(
    own_databases: TestDatabases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StartedSystem]:
    folder = tmp_path_factory.mktemp("identity")
    with StartedSystem(own_databases, folder, **UNLIMITED) as started:
        started.start(*SERVICES)
        yield started


@pytest.fixture
def system(_shared_system: StartedSystem) -> Iterator[StartedSystem]:
    """One process of each service, healthy; whatever a test does to them is mended after it."""
    _shared_system.wait_until_healthy()
    yield _shared_system
    _shared_system.restore()


@pytest.fixture
def register(http: AsyncClient, system: StartedSystem) -> NewPerson:
    """`await register()`: somebody new, logged in."""
    return lambda: new_person(http, system)


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
