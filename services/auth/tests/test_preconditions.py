"""`If-Match` and `If-None-Match` of what has no entity tag (RFC 9110, section 13.2.2)."""

from typing import Any

import pytest
from httpx2 import AsyncClient
from services.auth.tests.conftest import AUTH, ME, PASSWORD, Person, new_person

NEW_PASSWORD = "another phrase that is long"
FAILING = [{"if-none-match": "*"}, {"if-match": '"x"'}]
HOLDING = [{"if-match": "*"}, {"if-none-match": '"x"'}]

CHANGES: list[tuple[str, str, dict[str, Any] | None, int]] = [
    ("POST", "/register", {"email": "new@example.com", "password": PASSWORD}, 201),
    ("PUT", "/password", {"current_password": PASSWORD, "new_password": NEW_PASSWORD}, 204),
    ("PATCH", "/accounts/{account}", {"is_active": False}, 200),
    ("DELETE", "/sessions/{session}", None, 204),
    ("DELETE", "/sessions", None, 204),
    ("DELETE", "/me", None, 204),
]
every_change = pytest.mark.parametrize(("method", "path", "body", "succeeded"), CHANGES)


@pytest.fixture
async def root(client: AsyncClient, admin: Person) -> Person:
    """An admin whose account may be erased, as there is another admin."""
    second = await new_person(client, "second@example.com")
    promoted = await client.patch(
        f"{AUTH}/accounts/{second.id}", json={"roles": ["admin"]}, headers=admin.headers
    )
    assert promoted.status_code == 200
    return admin


async def place_of(client: AsyncClient, path: str, root: Person, person: Person) -> str:
    """Fill in the ids of a session of root and of another account."""
    listed = await client.get(f"{AUTH}/sessions", headers=root.headers)
    (session,) = (each["id"] for each in listed.json()["items"] if not each["current"])
    return AUTH + path.format(account=person.id, session=session)


async def state_of(client: AsyncClient, root: Person) -> list[Any]:
    """Everything that the changes would change, apart from the password."""
    answers = [
        await client.get(f"{AUTH}/{name}", headers=root.headers)
        for name in ("me", "sessions", "accounts", "audit")
    ]
    return [
        [{**each, "last_used_at": None} for each in answer.json().get("items", [answer.json()])]
        for answer in answers
    ]


@every_change
@pytest.mark.parametrize("conditions", FAILING, ids=str)
async def test_a_change_whose_condition_does_not_hold_changes_nothing(
    client: AsyncClient,
    root: Person,
    person: Person,
    *,
    method: str,
    path: str,
    body: dict[str, Any] | None,
    succeeded: int,
    conditions: dict[str, str],
) -> None:
    place = await place_of(client, path, root, person)
    before = await state_of(client, root)
    headers = {**root.headers, **conditions}
    answer = await client.request(method, place, json=body, headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (412, "precondition_failed")
    assert await state_of(client, root) == before
    assert (await client.request(method, place, json=body, headers=root.headers)).status_code == (
        succeeded
    )


@every_change
@pytest.mark.parametrize("conditions", HOLDING, ids=str)
async def test_a_change_whose_condition_holds_is_made(
    client: AsyncClient,
    root: Person,
    person: Person,
    *,
    method: str,
    path: str,
    body: dict[str, Any] | None,
    succeeded: int,
    conditions: dict[str, str],
) -> None:
    place = await place_of(client, path, root, person)
    headers = {**root.headers, **conditions}
    answer = await client.request(method, place, json=body, headers=headers)
    assert answer.status_code == succeeded


@pytest.mark.parametrize("path", ["/me", "/sessions", "/accounts", "/audit"])
async def test_of_reading(client: AsyncClient, admin: Person, path: str) -> None:
    for conditions, status in (
        ({"if-match": '"x"'}, 412),
        ({"if-none-match": "*"}, 304),
        *((each, 200) for each in HOLDING),
    ):
        answer = await client.get(AUTH + path, headers={**admin.headers, **conditions})
        assert answer.status_code == status, conditions


@pytest.mark.parametrize("conditions", [*FAILING, *HOLDING], ids=str)
async def test_other_refusals_come_before_a_condition(
    client: AsyncClient, admin: Person, person: Person, conditions: dict[str, str]
) -> None:
    nobody = f"{AUTH}/accounts/{admin.id[:-4]}0000"
    for method, place, body, headers, status in (
        ("PATCH", nobody, {"is_active": False}, admin.headers, 404),
        ("PATCH", nobody, {"is_active": 7}, admin.headers, 422),
        ("PATCH", nobody, {"is_active": False}, person.headers, 403),
        ("DELETE", ME, None, admin.headers, 409),
        ("DELETE", ME, None, {}, 401),
        ("POST", f"{AUTH}/register", {"email": person.email, "password": PASSWORD}, {}, 409),
    ):
        answer = await client.request(method, place, json=body, headers={**headers, **conditions})
        assert answer.status_code == status


@pytest.mark.parametrize("header", ["if-match", "if-none-match"])
async def test_a_condition_that_cannot_be_read_is_refused(
    client: AsyncClient, person: Person, header: str
) -> None:
    answer = await client.delete(ME, headers={**person.headers, header: "x"})
    assert answer.status_code == 400
    assert (await person.me()).status_code == 200
