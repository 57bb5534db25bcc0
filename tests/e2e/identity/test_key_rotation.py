"""A key rotation under load, with two replicas of auth: no valid token is refused."""

import asyncio
import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from httpx2 import AsyncClient
from joserfc import jws
from tests.e2e.identity.conftest import UNLIMITED, NewPerson
from tests.e2e.people import Person
from tests.e2e.system import StartedSystem

from service_testing.databases import TestDatabases

QUICK = {
    "JWKS_MAX_AGE_SECONDS": "1",
    "SIGNING_KEY_PUBLISH_SECONDS": "3",
    "SIGNING_KEY_RELOAD_SECONDS": "0.2",
}
CLIENTS = 6
PAUSE_SECONDS = 0.2
"""Of a client after nine requests: together they send about 200 a second."""


@pytest.fixture
def system(own_databases: TestDatabases, tmp_path: Path) -> Iterator[StartedSystem]:
    with StartedSystem(own_databases, tmp_path, **UNLIMITED, **QUICK) as started:
        started.start("auth", "auth", "users")
        started.wait_until_healthy()
        yield started


def key_of(person: Person) -> str:
    return str(jws.extract_compact(person.tokens["access_token"].encode()).headers()["kid"])


async def test_a_rotation_refuses_no_valid_token(
    http: AsyncClient, system: StartedSystem, register: NewPerson
) -> None:
    *auths, users = system.replicas
    people = [await register() for _ in range(CLIENTS)]
    old = key_of(people[0])
    early = Person(http, system, people[0].email)
    early.tokens = dict(people[0].tokens)
    statuses: Counter[tuple[str, int]] = Counter()
    done = asyncio.Event()

    async def work(person: Person) -> None:
        for auth in itertools.cycle(auths):
            if done.is_set():
                return
            answer = await person.refresh(at=auth)
            statuses["refresh", answer.status_code] += 1
            for each in (person, early):
                for _ in range(3):
                    statuses["users", await each.status_at(users)] += 1
                statuses["auth", await each.status_at(auth)] += 1
            await asyncio.sleep(PAUSE_SECONDS)

    workers = [asyncio.create_task(work(person)) for person in people]
    await asyncio.sleep(0.5)
    await system.command("rotate-keys")
    async with asyncio.timeout(30):
        while any(key_of(person) == old for person in people):  # noqa: ASYNC110 - other programs
            await asyncio.sleep(0.05)
    await asyncio.sleep(1.5)
    done.set()
    await asyncio.gather(*workers)
    assert {status for _, status in statuses} == {200}, statuses
    assert statuses["users", 200] > 100
    assert key_of(early) == old
