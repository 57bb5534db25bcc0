"""A key rotation under load, with two replicas of auth: no valid token is refused."""

import asyncio
import itertools
from collections import Counter

import httpx2
from joserfc import jws
from tests.e2e.identity.conftest import Login, System

QUICK = {
    "JWKS_MAX_AGE_SECONDS": "1",
    "SIGNING_KEY_PUBLISH_SECONDS": "3",
    "SIGNING_KEY_RELOAD_SECONDS": "0.2",
}
CLIENTS = 6


def key_of(login: Login) -> str:
    return str(jws.extract_compact(login.tokens["access_token"].encode()).headers()["kid"])


async def test_a_rotation_refuses_no_valid_token(system: System) -> None:
    system.start_auth(wait=False, **QUICK)
    replica = system.start("auth", wait=False, **QUICK)
    items = system.start("items", wait=False)
    await system.wait_until_healthy()
    logins = [await system.account(f"p{number}@example.com") for number in range(CLIENTS)]
    old = key_of(logins[0])
    early = Login(system, logins[0].email, logins[0].account, dict(logins[0].tokens))
    statuses: Counter[tuple[str, int]] = Counter()
    done = asyncio.Event()

    async def work(login: Login) -> None:
        for at in itertools.cycle((system.issuer, replica.url)):
            if done.is_set():
                return
            answer = await login.refresh(at=at)
            statuses["refresh", answer.status_code] += 1
            if answer.status_code == 200:
                login.tokens = answer.json()
            for each in (login, early):
                for _ in range(3):
                    statuses["items", await each.status_at(items)] += 1
                me: httpx2.Response = await system.http.get(
                    f"{at}/api/v1/auth/me", headers=each.headers
                )
                statuses["auth", me.status_code] += 1

    workers = [asyncio.create_task(work(login)) for login in logins]
    await asyncio.sleep(0.5)
    await system.command("rotate-keys", **QUICK)
    async with asyncio.timeout(30):
        while any(key_of(login) == old for login in logins):  # noqa: ASYNC110 - other programs
            await asyncio.sleep(0.05)
    await asyncio.sleep(1.5)
    done.set()
    await asyncio.gather(*workers)
    assert {status for _, status in statuses} == {200}, statuses
    assert statuses["items", 200] > 100
    assert key_of(early) == old
