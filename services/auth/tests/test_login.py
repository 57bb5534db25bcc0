"""Logging in: one answer and one amount of work for every failure."""

import asyncio
from typing import Any

import pytest
from argon2 import PasswordHasher as Argon2
from fastapi import FastAPI
from httpx2 import AsyncClient, Response
from services.auth.tests.conftest import AUTH, PASSWORD, TOKEN, AuditLog, Person, log_in, register
from sqlalchemy import update

from auth.models import Account, Session
from auth.passwords import computations
from service_platform.database import Database


def hashes() -> float:
    return float(computations._value.get())


async def set_account(database: Database, person: Person, **values: Any) -> None:
    async with database.session() as session:
        await session.execute(update(Account).where(Account.id == person.id).values(**values))
        await session.commit()


def without_request_id(answer: Response) -> tuple[int, bytes, dict[str, str]]:
    varying = {"x-request-id", "x-response-time", "ratelimit", "x-ratelimit-remaining"}
    headers = {name: value for name, value in answer.headers.items() if name not in varying}
    return answer.status_code, answer.content, headers


async def test_a_login_gives_tokens(app: FastAPI, person: Person) -> None:
    tokens = person.tokens
    assert set(tokens) == {"access_token", "token_type", "expires_in", "refresh_token", "scope"}
    assert (tokens["token_type"], tokens["expires_in"]) == ("Bearer", 600)
    assert tokens["scope"].split() == app.state.settings.account_scopes
    assert {"account", "users:read", "users:write"} <= set(tokens["scope"].split())


async def test_the_answer_is_kept_by_no_cache(client: AsyncClient, person: Person) -> None:
    for answer in (
        await log_in(client, person.email, PASSWORD),
        await log_in(client, person.email, "wrong"),
    ):
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["content-type"] == "application/json"


async def test_every_failed_login_has_one_answer_and_takes_one_hash(
    client: AsyncClient, person: Person, database: Database
) -> None:
    inactive = Person(client, (await register(client, "off@example.com")).json())
    await set_account(database, inactive, is_active=False)
    attempts = {
        "unknown": ("nobody@example.com", PASSWORD),
        "wrong": (person.email, "not the right phrase"),
        "inactive": (inactive.email, PASSWORD),
        "inactive and wrong": (inactive.email, "not the right phrase"),
        "no address": ("ada", PASSWORD),
        "long": (person.email, "x" * 100_000),
        "nul": (person.email + "\x00", PASSWORD + "\x00"),
    }
    answers = {}
    for name, (email, password) in attempts.items():
        before = hashes()
        answers[name] = without_request_id(await log_in(client, email, password))
        assert hashes() - before == 1, name
    assert len({repr(answer) for answer in answers.values()}) == 1, answers
    status, content, _ = answers["unknown"]
    assert status == 400
    assert b'"error":"invalid_grant"' in content


async def test_a_login_that_comes_too_early_looks_like_a_wrong_password(
    client: AsyncClient, audit_log: AuditLog, person: Person
) -> None:
    wrong = [await log_in(client, person.email, "not the right phrase") for _ in range(6)]
    before = hashes()
    early = await log_in(client, person.email, PASSWORD)
    assert hashes() - before == 1
    assert without_request_id(early) == without_request_id(wrong[0])
    assert audit_log.events("login_failed")[-1]["reason"] == "throttled"
    await asyncio.sleep(1.05)
    assert (await log_in(client, person.email, PASSWORD)).status_code == 200


async def test_guessing_at_one_account_does_not_hinder_another(
    client: AsyncClient, person: Person
) -> None:
    for _ in range(8):
        await log_in(client, "victim@example.com", "not the right phrase")
    assert (await log_in(client, person.email, PASSWORD)).status_code == 200


async def test_many_logins_of_one_account_at_once_are_all_let_in(
    client: AsyncClient, person: Person
) -> None:
    answers = await asyncio.gather(*(log_in(client, person.email, PASSWORD) for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({}, "invalid_request"),
        ({"grant_type": ""}, "invalid_request"),
        ({"grant_type": "implicit"}, "unsupported_grant_type"),
        ({"grant_type": "password"}, "invalid_request"),
        ({"grant_type": "password", "username": "ada@example.com"}, "invalid_request"),
        (
            {"grant_type": "password", "username": "a", "password": "b", "scope": "root"},
            "invalid_scope",
        ),
        ({"grant_type": "password", "username": "", "password": "b"}, "invalid_request"),
        ({"grant_type": "password", "username": "a", "password": ""}, "invalid_request"),
        ({"grant_type": "refresh_token"}, "invalid_request"),
        ({"grant_type": "refresh_token", "refresh_token": ""}, "invalid_request"),
        ({"grant_type": "refresh_token", "refresh_token": "nonsense"}, "invalid_grant"),
        ({"grant_type": "refresh_token", "refresh_token": "rt_" + "A" * 70}, "invalid_grant"),
        ({"grant_type": "client_credentials"}, "invalid_client"),
    ],
    ids=str,
)
async def test_a_wrong_token_request_is_answered_as_oauth_wants(
    client: AsyncClient, form: dict[str, str], error: str
) -> None:
    answer = await client.post(TOKEN, data=form)
    assert answer.status_code == (401 if error == "invalid_client" else 400)
    assert answer.json()["error"] == error
    assert set(answer.json()) == {"error", "error_description"}
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b'{"grant_type":"password"}'),
        ("", b"grant_type=password"),
        ("application/x-www-form-urlencoded", b"grant_type=password&grant_type=password"),
        ("application/x-www-form-urlencoded", b"grant_type=%ff%fe"),
        ("application/x-www-form-urlencoded", b"\xff\xfe"),
        ("application/x-www-form-urlencoded", b"a=1&" * 100),
        ("multipart/form-data; boundary=x", b"--x--"),
    ],
)
async def test_what_is_no_form_is_an_invalid_request(
    client: AsyncClient, kind: str, body: bytes
) -> None:
    answer = await client.post(TOKEN, content=body, headers={"content-type": kind})
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


async def test_fewer_scopes_can_be_asked_for(person: Person) -> None:
    tokens = await person.log_in(scope="users:write users:read users:write")
    assert tokens["scope"] == "users:write users:read"


async def test_a_hash_with_old_parameters_is_renewed_by_a_login(
    client: AsyncClient, person: Person, database: Database
) -> None:
    old = Argon2(time_cost=1, memory_cost=32, parallelism=1).hash(PASSWORD)
    await set_account(database, person, password_hash=old)
    await person.log_in()
    async with database.session() as session:
        account = await session.get_one(Account, person.id)
        assert account.password_hash != old
        assert "m=64,t=1,p=1" in account.password_hash
    await person.log_in()


async def test_a_password_counts_in_every_unicode_form(client: AsyncClient) -> None:
    composed, decomposed = "caf\u00e9 au lait, deux", "cafe\u0301 au lait, deux"
    await register(client, "ada@example.com", composed)
    assert (await log_in(client, "ada@example.com", decomposed)).status_code == 200


async def test_a_session_remembers_where_it_was_begun(
    client: AsyncClient, person: Person, database: Database
) -> None:
    answer = await client.post(
        TOKEN,
        data={"grant_type": "password", "username": person.email, "password": PASSWORD},
        headers={"user-agent": "Tests/1.0 " + "x" * 500},
    )
    headers = {"authorization": f"Bearer {answer.json()['access_token']}"}
    sessions = (await client.get(f"{AUTH}/sessions", headers=headers)).json()["items"]
    current = next(session for session in sessions if session["current"])
    assert current["user_agent"].startswith("Tests/1.0 ")
    assert len(current["user_agent"]) == 256
    assert current["address"] == "127.0.0.1"


async def test_a_login_while_the_account_is_deactivated_begins_no_session(
    client: AsyncClient, person: Person, database: Database
) -> None:
    await set_account(database, person, is_active=False)
    await log_in(client, person.email, PASSWORD)
    async with database.session() as session:
        count = await session.scalars(Session.__table__.select())
        assert len(count.all()) == 1


async def test_audit_tells_who_logged_in_and_who_did_not(
    client: AsyncClient, audit_log: AuditLog, person: Person
) -> None:
    await log_in(client, person.email, "not the right phrase")
    await log_in(client, "nobody@example.com", PASSWORD)
    succeeded = audit_log.events("login_succeeded")[0]
    assert succeeded["account"] == person.id
    assert succeeded["client"] == "first-party"
    assert succeeded["client.address"] == "127.0.0.1"
    assert succeeded["request_id"]
    wrong, unknown = audit_log.events("login_failed")
    assert (wrong["reason"], wrong["account"]) == ("wrong_password", person.id)
    assert (unknown["reason"], unknown["account"]) == ("unknown_address", None)


@pytest.mark.parametrize(
    "form",
    [
        {"username": "", "password": PASSWORD},
        {"username": "ada@example.com", "password": ""},
        {"username": "", "password": ""},
    ],
    ids=str,
)
async def test_a_parameter_without_a_value_counts_as_not_sent(
    client: AsyncClient, person: Person, form: dict[str, str]
) -> None:
    """RFC 6749, section 3.2; so no password is hashed, and no failure is counted."""
    before = hashes()
    answer = await client.post(TOKEN, data={"grant_type": "password", **form})
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    assert hashes() == before


async def test_empty_optional_parameters_change_nothing(
    client: AsyncClient, person: Person
) -> None:
    empty = {"scope": "", "client_id": "", "client_secret": "", "refresh_token": ""}
    assert (await log_in(client, person.email, PASSWORD, **empty)).status_code == 200
    assert (await person.refresh(scope="", username="", password="")).status_code == 200
