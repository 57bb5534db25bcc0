"""What ends in auth ends in every service: within a second, without a call to auth per request."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from tests.e2e.identity.conftest import NewPerson, requests_to, within_a_second
from tests.e2e.operations import OWN_PATHS
from tests.e2e.people import PASSWORD, Person, new_person
from tests.e2e.system import StartedSystem

from service_testing.services import RunningService

NEW_PASSWORD = "another phrase, just as long"

End = Callable[[StartedSystem, Person], Awaitable[None]]


async def end_session(system: StartedSystem, person: Person) -> None:
    listed = (await person.send("auth", "GET", "/auth/sessions")).json()["items"]
    current = next(session["id"] for session in listed if session["current"])
    assert (await person.send("auth", "DELETE", f"/auth/sessions/{current}")).is_success


async def revoke_token(system: StartedSystem, person: Person) -> None:
    form = {"token": person.tokens["refresh_token"]}
    assert (await person.http.post(system.api("auth", "/auth/revoke"), data=form)).is_success


async def deactivate(system: StartedSystem, person: Person) -> None:
    admin = await new_person(person.http, system)
    await system.command("grant-admin", admin.email)
    assert (await admin.refresh()).is_success
    place = f"/auth/accounts/{person.account['id']}"
    changed = await admin.send("auth", "PATCH", place, json={"is_active": False})
    assert changed.is_success


async def change_password_elsewhere(system: StartedSystem, person: Person) -> None:
    other = await person.another_session()
    body = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    assert (await other.send("auth", "PUT", "/auth/password", json=body)).is_success


async def erase(system: StartedSystem, person: Person) -> None:
    assert (await person.send("auth", "DELETE", "/auth/me")).is_success


async def use_a_copied_refresh_token(system: StartedSystem, person: Person) -> None:
    copied = person.tokens["refresh_token"]
    assert (await person.refresh()).is_success
    assert (await person.refresh()).is_success
    assert (await person.refresh(copied)).status_code == 400


async def revoke_as_operator(system: StartedSystem, person: Person) -> None:
    await system.command("revoke-account", person.email)


async def statuses_of(person: Person, services: list[RunningService]) -> set[int]:
    return set(await asyncio.gather(*(person.status_at(service) for service in services)))


async def accepted(person: Person, services: list[RunningService]) -> bool:
    return await statuses_of(person, services) == {200}


async def refused(person: Person, services: list[RunningService]) -> bool:
    return await statuses_of(person, services) == {401}


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
    system: StartedSystem, register: NewPerson
) -> None:
    auth = system.processes["auth"]
    services = [system.processes[name] for name in OWN_PATHS if name != "auth"]
    bystander = await register()
    ended = []
    for end in ENDS:
        person = await register()
        assert await accepted(person, services), end
        await end(system, person)
        await within_a_second(partial(refused, person, services))
        ended.append(person)

    assert await accepted(bystander, services)
    asked = await requests_to(auth)
    for _ in range(10):
        for person in ended:
            assert await refused(person, services)
    assert await requests_to(auth) == asked

    system.redis.kill()
    for _ in range(5):
        for end, person in zip(ENDS, ended, strict=True):
            assert await refused(person, services), end
        assert await accepted(bystander, services)
        await asyncio.sleep(0.1)

    # Revoked while Redis is away: refused as soon as it is back, which came back empty.
    await end_session(system, bystander)
    assert await accepted(bystander, services)
    system.redis.start()
    async with asyncio.timeout(15):
        while not await refused(bystander, services):  # noqa: ASYNC110 - other programs
            await asyncio.sleep(0.05)


async def test_everybody_is_logged_out_everywhere(
    system: StartedSystem, register: NewPerson
) -> None:
    services = [system.processes[name] for name in OWN_PATHS]
    people = [await register() for _ in range(3)]
    for person in people:
        assert await accepted(person, services)
    await system.command("revoke-all", "--yes")
    for person in people:
        await within_a_second(partial(refused, person, services))
        await person.log_in()
        assert await accepted(person, services)
