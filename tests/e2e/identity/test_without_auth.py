"""Auth being away stops logins, nothing else."""

import asyncio

from tests.e2e.identity.conftest import PATHS, System, requests_to


async def test_services_go_on_without_auth_and_a_fresh_one_says_when_to_try_again(
    system: System,
) -> None:
    auth = system.start_auth(wait=False)
    services = [system.start(name, wait=False) for name in ("items", "users")]
    await system.wait_until_healthy()
    seen = await system.account("ada@example.com")
    unseen = await system.account("bob@example.com")
    for service in services:
        assert await seen.status_at(service) == 200
    await asyncio.to_thread(auth.stop)

    for service in services:
        for login in (seen, unseen):
            for _ in range(10):
                assert await login.status_at(service) == 200

    fresh = system.start("items")
    answer = await system.http.get(fresh.url + PATHS["items"], headers=seen.headers)
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.headers["content-type"] == "application/problem+json"
    assert (await system.http.get(fresh.url + PATHS["items"])).status_code == 401
    health = (await system.http.get(f"{fresh.url}/health")).json()
    assert health["status"] == "degraded"

    system.start_auth()
    async with asyncio.timeout(30):
        while await seen.status_at(fresh) != 200:  # noqa: ASYNC110 - it is about other programs
            await asyncio.sleep(0.1)


async def test_requests_with_tokens_cost_auth_nothing(system: System) -> None:
    auth = system.start_auth(wait=False)
    items = system.start("items", wait=False)
    await system.wait_until_healthy()
    logins = [await system.account(f"p{number}@example.com") for number in range(5)]
    for login in logins:
        assert await login.status_at(items) == 200
    before = await requests_to(auth)
    for _ in range(20):
        for login in logins:
            assert await login.status_at(items) == 200
    assert await requests_to(auth) == before
