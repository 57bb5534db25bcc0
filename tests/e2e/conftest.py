"""The system the journeys run against: one that is there, or one started for them.

| variable | is |
|---|---|
| `E2E_BASE_URL` | one address for all services, such as a gateway's |
| `E2E_AUTH_URL`, `E2E_USERS_URL`, … | an address for each service, such as of `./dev up` |

Where none is set, the services are started (see `system`), once for all files that run in one
process.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from httpx2 import AsyncClient
from tests.e2e.people import Person, http_client, new_person
from tests.e2e.system import SERVICES, StartedSystem, System, given_system


@pytest.fixture(scope="session")
def given() -> System | None:
    """The system that was there before."""
    try:
        return given_system(os.environ)
    except LookupError as error:
        pytest.exit(str(error), returncode=4)


@pytest.fixture(scope="session")
def system(
    given: System | None,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[System]:
    """The running system, for tests that leave it running."""
    if given is not None:
        yield given
        return
    databases = request.getfixturevalue("databases")
    # The tests speak to the services as a proxy of theirs does.
    proxy = {"TRUSTED_PROXIES": "127.0.0.1/32"}
    with StartedSystem(databases, tmp_path_factory.mktemp("system"), **proxy) as started:
        started.start(*SERVICES)
        started.wait_until_healthy()
        yield started


@pytest.fixture
def started(system: System) -> StartedSystem:
    """The same for tests that look at logs, set up accounts as an operator or are the proxy."""
    if not isinstance(system, StartedSystem):
        pytest.skip("Needs services that were started for this test.")
    return system


@pytest.fixture
def directly(system: System) -> System:
    """The same without a gateway before it, which lets the API through and nothing else."""
    if system.behind_gateway:
        pytest.skip("A gateway is between.")
    return system


@pytest.fixture
async def http() -> AsyncIterator[AsyncClient]:
    async with http_client() as client:
        yield client


@pytest.fixture(scope="session")
def known_tokens(system: System) -> dict[str, Any]:
    """Tokens of one account for many tests: registrations are limited, also for tests."""

    async def known() -> dict[str, Any]:
        async with http_client() as client:
            return (await new_person(client, system)).tokens

    return asyncio.run(known())


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
