"""Registering, the own account, and erasing it."""

from typing import Any

import pytest
from httpx2 import AsyncClient
from services.auth.tests.conftest import AUTH, ME, PASSWORD, AuditLog, Person, log_in, register


async def test_a_new_account_is_described_without_its_password(client: AsyncClient) -> None:
    answer = await register(client, "Ada@Example.COM", full_name="  Ada Lovelace ")
    assert answer.status_code == 201
    account = answer.json()
    assert set(account) == {"id", "email", "full_name", "roles", "is_active", "created_at"}
    assert account["email"] == "Ada@example.com"
    assert account["full_name"] == "Ada Lovelace"
    assert (account["roles"], account["is_active"]) == ([], True)
    assert account["id"][14] == "7"
    assert account["created_at"].endswith("Z")


@pytest.mark.parametrize(
    "spelling", ["ada@example.com", "ADA@EXAMPLE.COM", " ada@example.com", "\uff41da@example.com"]
)
async def test_an_address_has_one_account_however_it_is_written(
    client: AsyncClient, spelling: str
) -> None:
    assert (await register(client, "Ada@example.com")).status_code == 201
    answer = await register(client, spelling)
    assert answer.status_code == 409
    assert answer.json()["error"] == "email_taken"


async def test_an_international_domain_is_one_domain(client: AsyncClient) -> None:
    assert (await register(client, "ada@bücher.example.com")).status_code == 201
    assert (await register(client, "ada@xn--bcher-kva.example.com")).status_code == 409
    assert (await log_in(client, "ADA@BÜCHER.example.com", PASSWORD)).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"email": "ada@example.com"},
        {"email": "no address", "password": PASSWORD},
        {"email": "a" * 250 + "@example.com", "password": PASSWORD},
        {"email": "ada@example.com", "password": "short"},
        {"email": "ada@example.com", "password": "x" * 129},
        {"email": "ada@example.com", "password": 123456789012},
        {"email": "ada@example.com", "password": PASSWORD, "full_name": "a\nb"},
        {"email": "ada@example.com", "password": PASSWORD, "full_name": "\x00"},
        {"email": "ada@example.com", "password": PASSWORD, "full_name": "x" * 201},
        {"email": "ada@example.com", "password": PASSWORD, "roles": ["admin"]},
        {"email": "ada\x00@example.com", "password": PASSWORD},
    ],
    ids=str,
)
async def test_a_wrong_registration_is_refused_without_repeating_it(
    client: AsyncClient, body: dict[str, Any]
) -> None:
    answer = await client.post(f"{AUTH}/register", json=body)
    assert answer.status_code == 422
    assert answer.json()["error"] == "validation_error"
    assert answer.json()["details"]
    for value in body.values():
        if isinstance(value, str) and len(value) > 10:
            assert value not in answer.text


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("\u0639\u0644\u06cc\u200c\u0631\u0636\u0627", 201),  # a zero-width non-joiner
        ("\u5c71\u7530\u3000\u592a\u90ce", 201),  # an ideographic space
        ("Ada \U0001f469\u200d\U0001f4bb", 201),  # an emoji joiner
        ("Mc\u00a0Donald", 201),
        ("\u200c", 422),
        ("a\u202eb", 422),
        ("a\u2028b", 422),
        ("", 422),
        ("   ", 422),
    ],
)
async def test_a_name_is_taken_as_people_write_it(
    client: AsyncClient, name: str, status: int
) -> None:
    answer = await register(client, "ada@example.com", full_name=name)
    assert answer.status_code == status
    if status == 201:
        assert answer.json()["full_name"] == name


async def test_half_a_surrogate_pair_is_refused(client: AsyncClient) -> None:
    for body in (
        b'{"email":"ada@example.com","password":"long enough \\ud800 phrase"}',
        b'{"email":"a\\ud800a@example.com","password":"long enough phrase"}',
        b'{"email":"b@example.com","password":"long enough phrase","full_name":"\\ud800"}',
    ):
        answer = await client.post(
            f"{AUTH}/register", content=body, headers={"content-type": "application/json"}
        )
        assert answer.status_code == 422, body


async def test_the_own_account_is_shown(person: Person) -> None:
    answer = await person.me()
    assert answer.status_code == 200
    assert answer.json() == person.account


async def test_without_a_token_there_is_no_account(client: AsyncClient) -> None:
    assert (await client.get(ME)).status_code == 401


async def test_a_token_without_the_scope_account_cannot_see_it(person: Person) -> None:
    await person.log_in(scope="users:read")
    answer = await person.me()
    assert answer.status_code == 403
    assert 'scope="account"' in answer.headers["www-authenticate"]


async def test_an_erased_account_is_gone_at_once(
    client: AsyncClient, audit_log: AuditLog, person: Person
) -> None:
    assert (await client.delete(ME, headers=person.headers)).status_code == 204
    assert (await person.me()).status_code == 401
    assert (await person.refresh()).json()["error"] == "invalid_grant"
    assert (await log_in(client, person.email, PASSWORD)).json()["error"] == "invalid_grant"
    assert (await register(client, person.email)).status_code == 201
    assert audit_log.events("account_closed")[0]["account"] == person.id


async def test_no_password_reaches_the_log(
    client: AsyncClient, audit_log: AuditLog, person: Person
) -> None:
    await log_in(client, person.email, "a wrong and secret phrase")
    await log_in(client, "the password typed as name", PASSWORD)
    await register(client, "b@example.com", "short one")
    text = audit_log.text()
    assert "login_failed" in text
    for secret in (PASSWORD, "a wrong and secret", "typed as name", "short one", "ada@example"):
        assert secret not in text
    assert person.refresh_token not in text
    assert person.tokens["access_token"] not in text
