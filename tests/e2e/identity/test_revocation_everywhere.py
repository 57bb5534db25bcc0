"""What ends in auth ends in every service: within a second, without a call to auth per request."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from tests.e2e.identity.conftest import PASSWORD, Login, System, requests_to, within_a_second

from service_platform.testing.services import RunningService

AUTH = "/api/v1/auth"
NEW_PASSWORD = "another phrase, just as long"

End = Callable[[System, Login], Awaitable[None]]


async def end_session(system: System, login: Login) -> None:
    url = f"{system.issuer}{AUTH}/sessions"
    listed = (await system.http.get(url, headers=login.headers)).json()["items"]
    current = next(session["id"] for session in listed if session["current"])
    assert (await system.http.delete(f"{url}/{current}", headers=login.headers)).is_success


async def revoke_token(system: System, login: Login) -> None:
    form = {"token": login.tokens["refresh_token"]}
    assert (await system.http.post(f"{system.issuer}{AUTH}/revoke", data=form)).is_success


async def deactivate(system: System, login: Login) -> None:
    admin = await system.account("root@example.com")
    await system.command("grant-admin", admin.email)
    admin.tokens = (await admin.refresh()).json()
    url = f"{system.issuer}{AUTH}/accounts/{login.account}"
    changed = await system.http.patch(url, json={"is_active": False}, headers=admin.headers)
    assert changed.is_success


async def change_password_elsewhere(system: System, login: Login) -> None:
    other = Login(system, login.email, login.account)
    await other.log_in()
    body = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    url = f"{system.issuer}{AUTH}/password"
    assert (await system.http.put(url, json=body, headers=other.headers)).is_success


async def erase(system: System, login: Login) -> None:
    answer = await system.http.delete(f"{system.issuer}{AUTH}/me", headers=login.headers)
    assert answer.is_success


async def use_a_copied_refresh_token(system: System, login: Login) -> None:
    copied = login.tokens["refresh_token"]
    second = (await login.refresh()).json()["refresh_token"]
    login.tokens = (await login.refresh(second)).json()
    assert (await login.refresh(copied)).status_code == 400


async def revoke_as_operator(system: System, login: Login) -> None:
    await system.command("revoke-account", login.email)


async def statuses_of(login: Login, services: list[RunningService]) -> set[int]:
    return set(await asyncio.gather(*(login.status_at(service) for service in services)))


async def accepted(login: Login, services: list[RunningService]) -> bool:
    return await statuses_of(login, services) == {200}


async def refused(login: Login, services: list[RunningService]) -> bool:
    return await statuses_of(login, services) == {401}


ENDS: tuple[End, ...] = (
    end_session,
    revoke_token,
    deactivate,
    change_password_elsewhere,
    erase,
    use_a_copied_refresh_token,
    revoke_as_operator,
)


async def test_what_ends_in_auth_is_refused_everywhere_and_stays_so_without_redis(
    system: System,
) -> None:
    auth = system.start_auth(wait=False)
    services = [system.start(name, wait=False) for name in ("items", "users")]
    await system.wait_until_healthy()
    bystander = await system.account("bystander@example.com")
    ended = []
    for end in ENDS:
        login = await system.account(f"{end.__name__}@example.com")
        assert await accepted(login, services), end
        await end(system, login)
        await within_a_second(partial(refused, login, services))
        ended.append(login)

    assert await accepted(bystander, services)
    asked = await requests_to(auth)
    for _ in range(10):
        for login in ended:
            assert await refused(login, services)
    assert await requests_to(auth) == asked

    system.redis.kill()
    for _ in range(5):
        for login in ended:
            assert await refused(login, services), login.email
        assert await accepted(bystander, services)
        await asyncio.sleep(0.1)

    # Revoked while Redis is away: refused as soon as it is back, which came back empty.
    await end_session(system, bystander)
    assert await accepted(bystander, services)
    system.redis.start()
    async with asyncio.timeout(15):
        while not await refused(bystander, services):  # noqa: ASYNC110 - other programs
            await asyncio.sleep(0.05)


async def test_everybody_is_logged_out_everywhere(system: System) -> None:
    system.start_auth(wait=False)
    services = [system.start("items", wait=False)]
    await system.wait_until_healthy()
    logins = [await system.account(f"p{number}@example.com") for number in range(3)]
    for login in logins:
        assert await accepted(login, services)
    await system.command("revoke-all", "--yes")
    for login in logins:
        await within_a_second(partial(refused, login, services))
        await login.log_in()
        assert await accepted(login, services)
