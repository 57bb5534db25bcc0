"""Auth being away stops logins, nothing else."""

import asyncio

from httpx2 import AsyncClient
from tests.e2e.identity.conftest import NewPerson, requests_to
from tests.e2e.operations import OWN_PATHS
from tests.e2e.system import StartedSystem, health_of


async def test_services_go_on_without_auth_and_a_fresh_one_says_when_to_try_again(
    http: AsyncClient, system: StartedSystem, register: NewPerson
) -> None:
    auth = system.processes["auth"]
    services = [system.processes[name] for name in OWN_PATHS if name != "auth"]
    seen, unseen = await register(), await register()
    for service in services:
        assert await seen.status_at(service) == 200
    await asyncio.to_thread(auth.stop)
    (fresh,) = system.start("users")

    for service in services:
        for person in (seen, unseen):
            for _ in range(10):
                assert await person.status_at(service) == 200

    await asyncio.to_thread(fresh.wait_until_ready)
    url = f"{fresh.url}/api/v1{OWN_PATHS['users']}"
    answer = await http.get(url, headers=seen.headers)
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.headers["content-type"] == "application/problem+json"
    assert (await http.get(url)).status_code == 401
    assert await asyncio.to_thread(health_of, fresh) == "degraded"

    auth.start(wait=False)
    async with asyncio.timeout(30):
        while await seen.status_at(fresh) != 200:  # noqa: ASYNC110 - it is about other programs
            await asyncio.sleep(0.1)


async def test_requests_with_tokens_cost_auth_nothing(
    system: StartedSystem, register: NewPerson
) -> None:
    auth, users = (system.processes[name] for name in ("auth", "users"))
    people = [await register() for _ in range(5)]
    for person in people:
        assert await person.status_at(users) == 200
    before = await requests_to(auth)
    for _ in range(20):
        for person in people:
            assert await person.status_at(users) == 200
    assert await requests_to(auth) == before
