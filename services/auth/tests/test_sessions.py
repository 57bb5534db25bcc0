"""Sessions, passwords, and what admins do: every end of a session is an end everywhere."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from uuid import UUID

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient, Response
from services.auth.tests.conftest import (
    AUTH,
    ME,
    PASSWORD,
    AuditLog,
    Person,
    eventually,
    log_in,
    new_person,
)
from sqlalchemy import func, select, update

from auth import repository
from auth.broadcast import Broadcast
from auth.models import Account
from service_platform.database import Database
from service_platform.identity import TokenVerifier

SESSIONS = f"{AUTH}/sessions"
NEW_PASSWORD = "another phrase, just as long"


async def test_sessions_are_listed_with_where_and_when(person: Person) -> None:
    answer = await person.client.get(SESSIONS, headers=person.headers)
    session = answer.json()["items"][0]
    assert set(session) == {
        "id", "client_id", "scope", "created_at", "last_used_at", "expires_at", "user_agent",
        "address", "current",
    }  # fmt: skip
    assert session["current"] is True
    assert session["client_id"] == "first-party"
    assert session["last_used_at"] >= session["created_at"]
    UUID(session["id"])


async def test_one_session_can_be_ended(person: Person) -> None:
    phone = Person(person.client, person.account)
    await phone.log_in()
    listed = (await person.client.get(SESSIONS, headers=person.headers)).json()["items"]
    assert len(listed) == 2
    other = next(session["id"] for session in listed if not session["current"])
    ended = await person.client.delete(f"{SESSIONS}/{other}", headers=person.headers)
    assert ended.status_code == 204
    assert (await phone.me()).status_code == 401
    assert (await phone.refresh()).json()["error"] == "invalid_grant"
    assert (await person.me()).status_code == 200
    again = await person.client.delete(f"{SESSIONS}/{other}", headers=person.headers)
    assert again.status_code == 404


async def test_the_session_of_somebody_else_is_not_found(
    client: AsyncClient, person: Person
) -> None:
    bob = await new_person(client, "bob@example.com")
    listed = (await client.get(SESSIONS, headers=person.headers)).json()["items"]
    refused = await client.delete(f"{SESSIONS}/{listed[0]['id']}", headers=bob.headers)
    assert refused.status_code == 404
    assert (await person.me()).status_code == 200


async def test_every_session_can_be_ended(person: Person) -> None:
    phone = Person(person.client, person.account)
    await phone.log_in()
    assert (await person.client.delete(SESSIONS, headers=phone.headers)).status_code == 204
    for each in (person, phone):
        assert (await each.me()).status_code == 401
        assert (await each.refresh()).json()["error"] == "invalid_grant"
    await person.log_in()
    assert (await person.me()).status_code == 200


async def change(person: Person, current: str, new: str) -> int:
    body = {"current_password": current, "new_password": new}
    answer = await person.client.put(f"{AUTH}/password", json=body, headers=person.headers)
    return answer.status_code


async def test_a_new_password_ends_every_other_session(person: Person) -> None:
    phone = Person(person.client, person.account)
    await phone.log_in()
    assert await change(person, PASSWORD, NEW_PASSWORD) == 204
    assert (await person.me()).status_code == 200
    assert (await phone.me()).status_code == 401
    assert (await person.refresh()).status_code == 200
    assert (await log_in(person.client, person.email, PASSWORD)).status_code == 400
    assert (await log_in(person.client, person.email, NEW_PASSWORD)).status_code == 200


async def test_a_wrong_current_password_changes_nothing(
    audit_log: AuditLog, person: Person
) -> None:
    assert await change(person, "not the right phrase", NEW_PASSWORD) == 403
    assert (await log_in(person.client, person.email, PASSWORD)).status_code == 200
    assert audit_log.events("password_change_refused")


async def test_a_stolen_token_cannot_be_used_to_guess_the_password(person: Person) -> None:
    for _ in range(6):
        assert await change(person, "not the right phrase", NEW_PASSWORD) == 403
    assert await change(person, PASSWORD, NEW_PASSWORD) == 403


@pytest.mark.parametrize("new", ["short", "passwordpassword", "ada@example.com"])
async def test_a_bad_new_password_is_refused(person: Person, new: str) -> None:
    assert await change(person, PASSWORD, new) == 422


async def test_a_deactivated_account_is_out_at_once_and_can_come_back_at_once(
    client: AsyncClient, person: Person, admin: Person, audit_log: AuditLog
) -> None:
    url = f"{AUTH}/accounts/{person.id}"
    answer = await client.patch(url, json={"is_active": False}, headers=admin.headers)
    assert answer.status_code == 200
    assert answer.json()["is_active"] is False
    assert (await person.me()).status_code == 401
    assert (await person.refresh()).json()["error"] == "invalid_grant"
    assert (await log_in(client, person.email, PASSWORD)).status_code == 400
    await client.patch(url, json={"is_active": True}, headers=admin.headers)
    await person.log_in()
    assert (await person.me()).status_code == 200
    event = audit_log.events("account_administered")[0]
    assert (event["by"], event["account"]) == (admin.id, person.id)


async def test_a_login_counts_also_where_another_replicas_clock_is_ahead(
    app: FastAPI, person: Person, database: Database
) -> None:
    """A replica a minute ahead ended the sessions; this one begins the next."""
    verifier: TokenVerifier = app.state.identity
    broadcast: Broadcast = app.state.broadcast
    old, ahead = person.tokens["access_token"], int((time.time() + 60) * 1000)
    async with database.session() as session:
        await repository.change_account(session, UUID(person.id), sessions_ended_at=ahead)
        await broadcast.record(session, "account", UUID(person.id), at=ahead)
        await session.commit()

    async def old_is_refused() -> bool:
        return verifier.verify_cached(old) is None

    await eventually(old_is_refused)
    await person.log_in()
    principal = await verifier.verify(person.tokens["access_token"])
    assert str(principal.subject) == person.id


async def test_roles_are_given_and_taken(
    client: AsyncClient, person: Person, admin: Person
) -> None:
    url = f"{AUTH}/accounts/{person.id}"
    given = await client.patch(url, json={"roles": ["admin", "admin"]}, headers=admin.headers)
    assert given.json()["roles"] == ["admin"]
    assert (await person.me()).status_code == 200
    person.tokens = (await person.refresh()).json()
    assert (await client.get(f"{AUTH}/accounts", headers=person.headers)).status_code == 200
    await client.patch(url, json={"roles": []}, headers=admin.headers)
    assert (await person.me()).status_code == 401


async def test_a_token_with_less_than_the_account_has_no_roles(
    client: AsyncClient, admin: Person
) -> None:
    await admin.log_in(scope="users:read users:write")
    assert (await client.get(f"{AUTH}/accounts", headers=admin.headers)).status_code == 403
    await admin.log_in()
    assert (await client.get(f"{AUTH}/accounts", headers=admin.headers)).status_code == 200


async def test_admins_cannot_lock_themselves_out(client: AsyncClient, admin: Person) -> None:
    url = f"{AUTH}/accounts/{admin.id}"
    bodies: list[dict[str, object]] = [{"is_active": False}, {"roles": []}]
    for body in bodies:
        assert (await client.patch(url, json=body, headers=admin.headers)).status_code == 409
    assert (await client.patch(url, json={}, headers=admin.headers)).status_code == 200


@pytest.mark.parametrize(
    "body",
    [{"is_active": "perhaps"}, {"roles": ["Not A Role"]}, {"email": "x"}, {"roles": "admin"}],
)
async def test_a_wrong_change_is_refused(
    client: AsyncClient, admin: Person, body: dict[str, object]
) -> None:
    url = f"{AUTH}/accounts/{admin.id}"
    assert (await client.patch(url, json=body, headers=admin.headers)).status_code == 422


async def test_only_admins_administer(client: AsyncClient, person: Person) -> None:
    assert (await client.get(f"{AUTH}/accounts", headers=person.headers)).status_code == 403
    url = f"{AUTH}/accounts/{person.id}"
    refused = await client.patch(url, json={"roles": ["admin"]}, headers=person.headers)
    assert refused.status_code == 403
    assert (await client.patch(url, json={})).status_code == 401


async def test_an_unknown_account_is_not_found(client: AsyncClient, admin: Person) -> None:
    url = f"{AUTH}/accounts/{UUID(int=7)}"
    assert (await client.patch(url, json={}, headers=admin.headers)).status_code == 404


async def test_accounts_are_listed_in_pages_and_found(client: AsyncClient, admin: Person) -> None:
    people = [await new_person(client, f"p{number}@example.com") for number in range(5)]
    seen: list[str] = []
    cursor: str | None = None
    while True:
        query = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        page = (await client.get(f"{AUTH}/accounts", params=query, headers=admin.headers)).json()
        seen += [account["id"] for account in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == [*(each.id for each in reversed(people)), admin.id]
    found = await client.get(f"{AUTH}/accounts", params={"q": "P3@"}, headers=admin.headers)
    assert [account["email"] for account in found.json()["items"]] == ["p3@example.com"]
    found = await client.get(f"{AUTH}/accounts", params={"q": "lovel"}, headers=admin.headers)
    assert len(found.json()["items"]) == 6
    found = await client.get(f"{AUTH}/accounts", params={"q": "%"}, headers=admin.headers)
    assert found.json()["items"] == []


async def test_the_account_routes_are_for_people(client: AsyncClient, person: Person) -> None:
    answer = await client.get(ME, headers={"authorization": f"Bearer {person.refresh_token}"})
    assert answer.status_code == 401


async def new_admin(client: AsyncClient, admin: Person, email: str) -> Person:
    made = await new_person(client, email)
    url = f"{AUTH}/accounts/{made.id}"
    assert (
        await client.patch(url, json={"roles": ["admin"]}, headers=admin.headers)
    ).status_code == 200
    await made.log_in()
    return made


async def active_admins(database: Database) -> int:
    async with database.session() as session:
        statement = select(func.count()).where(Account.is_active, Account.roles.contains(["admin"]))
        return await session.scalar(statement) or 0


TAKE_AWAY: dict[str, Callable[[Person, Person], Awaitable[Response]]] = {
    "role": lambda by, of: by.client.patch(
        f"{AUTH}/accounts/{of.id}", json={"roles": []}, headers=by.headers
    ),
    "active": lambda by, of: by.client.patch(
        f"{AUTH}/accounts/{of.id}", json={"is_active": False}, headers=by.headers
    ),
    "erase": lambda _, of: of.client.delete(ME, headers=of.headers),
}


@pytest.mark.parametrize(
    ("one", "other"), [("role", "role"), ("active", "role"), ("active", "active"),
                       ("role", "erase"), ("erase", "erase")]
)  # fmt: skip
async def test_two_admins_who_take_each_others_access_away_leave_one(
    client: AsyncClient, admin: Person, database: Database, one: str, other: str
) -> None:
    second = await new_admin(client, admin, "second@example.com")
    answers = await asyncio.gather(TAKE_AWAY[one](admin, second), TAKE_AWAY[other](second, admin))
    assert await active_admins(database) == 1
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses[0] in {200, 204}
    assert statuses[1] in {401, 403, 409}


async def test_a_ring_of_admins_who_demote_each_other_leaves_one(
    client: AsyncClient, admin: Person, database: Database
) -> None:
    ring = [admin, *[await new_admin(client, admin, f"a{n}@example.com") for n in range(3)]]
    await asyncio.gather(
        *(TAKE_AWAY["role"](by, of) for by, of in zip(ring, ring[1:] + ring[:1], strict=True))
    )
    assert await active_admins(database) >= 1


async def test_who_is_no_admin_any_more_demotes_nobody(
    client: AsyncClient, admin: Person, database: Database
) -> None:
    """The token still says so: the service may not have heard yet."""
    second = await new_admin(client, admin, "second@example.com")
    async with database.session() as session:
        await session.execute(update(Account).where(Account.id == second.id).values(roles=[]))
        await session.commit()
    assert (await TAKE_AWAY["role"](second, admin)).status_code == 403
    assert await active_admins(database) == 1


async def test_the_last_admin_cannot_erase_the_account(client: AsyncClient, admin: Person) -> None:
    refused = await client.delete(ME, headers=admin.headers)
    assert (refused.status_code, refused.json()["error"]) == (409, "last_admin")
    assert (await admin.me()).status_code == 200
    await new_admin(client, admin, "second@example.com")
    assert (await client.delete(ME, headers=admin.headers)).status_code == 204
