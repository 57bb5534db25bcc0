"""Refresh tokens: rotation, lost answers, races, and what happens to a copied one."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from httpx2 import AsyncClient
from services.auth.tests.conftest import AUTH, TOKEN, AuditLog, NewClient, Person
from sqlalchemy import func, update

from auth.models import Session
from auth.refresh_tokens import RefreshTokens
from service_platform.database import Database


async def set_session(database: Database, person: Person, **values: Any) -> None:
    token = RefreshTokens.parse(person.refresh_token)
    assert token is not None
    async with database.session() as session:
        await session.execute(
            update(Session).where(Session.id == token.session_id).values(**values)
        )
        await session.commit()


async def age(database: Database, person: Person, seconds: float) -> None:
    """Make the last rotation of the session look older."""
    await set_session(
        database, person, rotated_at=func.clock_timestamp() - timedelta(seconds=seconds)
    )


async def test_a_refresh_gives_new_tokens_of_the_same_session(person: Person) -> None:
    first = person.refresh_token
    answer = await person.refresh()
    assert answer.status_code == 200
    person.tokens = answer.json()
    assert person.refresh_token != first
    assert (await person.me()).status_code == 200
    assert (await person.refresh()).status_code == 200


async def test_a_lost_answer_can_be_had_again(person: Person) -> None:
    lost = (await person.refresh()).json()
    again = await person.refresh()
    assert again.status_code == 200
    assert again.json()["refresh_token"] == lost["refresh_token"]
    assert (await person.refresh(lost["refresh_token"])).status_code == 200


async def test_twenty_at_once_get_one_refresh_token_and_the_session_lives(
    person: Person,
) -> None:
    answers = await asyncio.gather(*(person.refresh() for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}
    issued = {answer.json()["refresh_token"] for answer in answers}
    assert len(issued) == 1
    assert (await person.refresh(issued.pop())).status_code == 200


async def test_the_predecessor_is_taken_for_a_lost_answer_for_ten_seconds_only(
    person: Person, database: Database
) -> None:
    await person.refresh()
    await age(database, person, 9.0)
    assert (await person.refresh()).status_code == 200
    await age(database, person, 10.5)
    refused = await person.refresh()
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")


async def test_an_old_token_ends_the_session_and_its_access_tokens(
    audit_log: AuditLog, person: Person
) -> None:
    stolen = person.refresh_token
    second = (await person.refresh()).json()
    third = (await person.refresh(second["refresh_token"])).json()
    refused = await person.refresh(stolen)
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")
    assert (await person.refresh(third["refresh_token"])).json()["error"] == "invalid_grant"
    person.tokens = third
    assert (await person.me()).status_code == 401
    event = audit_log.events("refresh_token_reused")[0]
    assert event["account"] == person.id


async def test_another_session_of_the_account_goes_on(person: Person) -> None:
    old = person.refresh_token
    for _ in range(2):
        person.tokens = (await person.refresh()).json()
    await person.log_in()
    await person.refresh(old)
    assert (await person.me()).status_code == 200


async def test_a_forged_number_does_not_end_the_session(person: Person) -> None:
    token = RefreshTokens.parse(person.refresh_token)
    assert token is not None
    forger = RefreshTokens(["another secret key of thirty-two characters"])
    for counter in (0, 1, 5):
        forged = forger.make(token.session_id, counter, b"\x00" * 32)
        assert (await person.refresh(forged)).json()["error"] == "invalid_grant"
    assert (await person.refresh()).status_code == 200


async def test_an_unknown_session_is_refused(person: Person) -> None:
    unknown = RefreshTokens(["a"]).make(UUID(int=1), 0, b"")
    assert (await person.refresh(unknown)).json()["error"] == "invalid_grant"


async def test_another_client_cannot_use_the_token_and_cannot_end_the_session(
    client: AsyncClient, person: Person, new_client: NewClient
) -> None:
    await new_client("app", grant_types=("refresh_token",), public=True)
    old = person.refresh_token
    person.tokens = (await person.refresh()).json()
    person.tokens = (await person.refresh()).json()
    for token in (old, person.refresh_token):
        refused = await person.refresh(token, client_id="app")
        assert refused.json()["error"] == "invalid_grant"
    assert (await person.refresh()).status_code == 200


async def test_a_refresh_can_ask_for_fewer_scopes_but_not_for_more(person: Person) -> None:
    await person.log_in(scope="users:read users:write")
    narrowed = (await person.refresh(scope="users:read")).json()
    assert narrowed["scope"] == "users:read"
    refused = await person.refresh(narrowed["refresh_token"], scope="account")
    assert refused.json()["error"] == "invalid_scope"
    whole = await person.refresh(narrowed["refresh_token"])
    assert whole.json()["scope"] == "users:read users:write"


@pytest.mark.parametrize(
    "ended",
    [
        {"ended_at": func.now()},
        {"idle_until": func.now() - timedelta(seconds=1)},
    ],
    ids=["ended", "not used for too long"],
)
async def test_a_session_that_is_over_gives_nothing(
    person: Person, database: Database, ended: dict[str, Any]
) -> None:
    await set_session(database, person, **ended)
    assert (await person.refresh()).json()["error"] == "invalid_grant"
    assert (await person.me()).status_code == 401


async def test_use_prolongs_a_session_up_to_its_longest(person: Person, database: Database) -> None:
    await set_session(database, person, expires_at=func.now() + timedelta(hours=1))
    await person.refresh()
    sessions = await person.client.get(f"{AUTH}/sessions", headers=person.headers)
    session = sessions.json()["items"][0]
    created, expires = session["created_at"], session["expires_at"]
    assert expires[:10] <= max(created[:10], expires[:10])
    async with database.session() as unit:
        token = RefreshTokens.parse(person.refresh_token)
        assert token is not None
        row = await unit.get_one(Session, token.session_id)
        assert row.idle_until == row.expires_at


async def test_a_token_made_with_an_earlier_secret_key_is_accepted() -> None:
    old, new = "o" * 40, "n" * 40
    text = RefreshTokens([old]).make(UUID(int=5), 3, b"row secret")
    token = RefreshTokens.parse(text)
    assert token is not None
    assert RefreshTokens([new, old]).is_genuine(token, b"row secret")
    assert not RefreshTokens([new]).is_genuine(token, b"row secret")
    assert not RefreshTokens([new, old]).is_genuine(token, b"another row")


@pytest.mark.parametrize("text", ["", "rt_", "rt_é", "rt_AA", "AA", "rt_" + "A" * 5000, "rt_%%%%"])
def test_what_has_not_the_form_of_a_token_is_none(text: str) -> None:
    assert RefreshTokens.parse(text) is None


async def test_two_replicas_rotate_one_session_once(
    app: Any, person: Person, make_client: Any
) -> None:
    async with make_client() as other:
        form = {"grant_type": "refresh_token", "refresh_token": person.refresh_token}
        answers = await asyncio.gather(
            *(replica.post(TOKEN, data=form) for replica in (person.client, other) * 10)
        )
        assert {answer.status_code for answer in answers} == {200}
        assert len({answer.json()["refresh_token"] for answer in answers}) == 1
        assert (await person.refresh(answers[0].json()["refresh_token"])).status_code == 200
