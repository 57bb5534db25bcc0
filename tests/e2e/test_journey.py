"""What people do with the system, from registration to erasure."""

import asyncio
from typing import Any

from httpx2 import AsyncClient
from tests.e2e.people import PASSWORD, Person, new_person
from tests.e2e.system import StartedSystem, System


async def test_from_registration_to_a_deleted_item(
    http: AsyncClient, system: System, eve: Person
) -> None:
    ada = Person(http, system)
    registered = await ada.register()
    assert registered.status_code == 201
    assert set(registered.json()) == {
        "id", "email", "full_name", "roles", "is_active", "created_at",
    }  # fmt: skip
    assert (await ada.register()).status_code == 409

    login = await ada.log_in()
    assert login.status_code == 200
    assert login.headers["cache-control"] == "no-store"
    assert login.json()["token_type"].lower() == "bearer"
    assert login.json()["expires_in"] > 0

    new = {"name": "Lamp", "description": "For the desk", "price": 9.5, "tags": ["home"]}
    key = {"idempotency-key": f"first-lamp-{ada.email}"}
    made = await ada.send("items", "POST", "/items", key, json=new)
    assert made.status_code == 201
    item = made.json()
    place = f"/items/{item['id']}"
    assert made.headers["location"] == f"/api/v1{place}"
    assert {name: item[name] for name in new} == new
    again = await ada.send("items", "POST", "/items", key, json=new)
    assert again.json() == item

    listed = (await ada.send("items", "GET", "/items?tag=home&limit=10")).json()
    assert listed == {"items": [item], "next_cursor": None}

    read = await ada.send("items", "GET", place)
    etag = read.headers["etag"]
    assert read.json() == item
    known = await ada.send("items", "GET", place, {"if-none-match": etag})
    assert (known.status_code, known.content) == (304, b"")

    changed = await ada.send("items", "PATCH", place, {"if-match": etag}, json={"price": 17})
    assert (changed.status_code, changed.json()["price"]) == (200, 17)
    assert changed.headers["etag"] != etag
    stale = await ada.send("items", "PATCH", place, {"if-match": etag}, json={"price": 1})
    assert stale.status_code == 412
    assert stale.headers["content-type"] == "application/problem+json"
    assert stale.json()["request_id"] == stale.headers["x-request-id"]

    assert (await eve.send("items", "GET", place)).status_code == 404
    assert (await eve.send("items", "PATCH", place, json={"price": 0})).status_code == 404
    assert (await eve.send("items", "DELETE", place)).status_code == 404
    assert (await eve.send("items", "GET", "/items")).json()["items"] == []

    assert (await ada.send("items", "DELETE", place)).status_code == 204
    assert (await ada.send("items", "GET", place)).status_code == 404


async def test_a_list_is_read_page_by_page(ada: Person) -> None:
    for number in range(5):
        await ada.send("items", "POST", "/items", json={"name": f"Item {number}"})
    names: list[str] = []
    cursor = ""
    for _ in range(3):
        query = f"?limit=2&sort=name{cursor}"
        page = (await ada.send("items", "GET", f"/items{query}")).json()
        names += [item["name"] for item in page["items"]]
        cursor = f"&cursor={page['next_cursor']}"
    assert names == [f"Item {number}" for number in range(5)]
    assert cursor == "&cursor=None"


async def test_a_profile_is_there_at_once_and_keeps_its_changes(ada: Person, eve: Person) -> None:
    profile = await ada.send("users", "GET", "/users/me")
    assert profile.status_code == 200
    assert profile.json()["id"] == ada.account["id"]
    assert profile.json()["email"] == ada.account["email"]
    assert profile.json()["full_name"] == "Ada Lovelace"
    seen = {"if-match": profile.headers["etag"]}
    changed = await ada.send("users", "PATCH", "/users/me", json={"bio": "Numbers"})
    assert changed.json()["bio"] == "Numbers"
    stale = await ada.send("users", "PATCH", "/users/me", seen, json={"bio": "Poems"})
    assert stale.status_code == 412
    public = (await eve.send("users", "GET", f"/users/{ada.account['id']}")).json()
    assert public["bio"] == "Numbers"
    assert "email" not in public
    assert (await eve.send("users", "GET", "/users")).status_code == 403


async def test_a_login_goes_on_by_refreshing(ada: Person) -> None:
    first = dict(ada.tokens)
    assert (await ada.refresh()).status_code == 200
    assert ada.tokens["refresh_token"] != first["refresh_token"]
    assert (await ada.send("items", "GET", "/items")).status_code == 200


async def test_a_wrong_password_and_an_unknown_address_look_the_same(
    ada: Person, http: AsyncClient, system: System
) -> None:
    answers = [
        await http.post(
            system.api("auth", "/auth/token"),
            data={"grant_type": "password", "username": name, "password": "not it at all"},
        )
        for name in (ada.email, f"nobody-{ada.email}")
    ]
    assert [answer.status_code for answer in answers] == [400, 400]
    assert answers[0].json() == answers[1].json()
    assert answers[0].json()["error"] == "invalid_grant"


async def test_an_ended_session_is_refused_by_every_service(ada: Person) -> None:
    assert (await ada.send("auth", "DELETE", "/auth/sessions")).status_code == 204
    for service, path in (("users", "/users/me"), ("items", "/items")):
        await eventually(ada, service, path, 401)
    assert (await ada.refresh()).json()["error"] == "invalid_grant"


async def test_erasing_an_account_erases_its_profile_and_its_items(
    ada: Person, eve: Person
) -> None:
    await ada.send("items", "POST", "/items", json={"name": "Lamp"})
    await ada.send("users", "GET", "/users/me")
    public = f"/users/{ada.account['id']}"
    assert (await eve.send("users", "GET", public)).status_code == 200
    assert (await ada.send("auth", "DELETE", "/auth/me")).status_code == 204
    await eventually(eve, "users", public, 404)
    await eventually(ada, "items", "/items", 401)
    again: dict[str, Any] = (await ada.log_in()).json()
    assert again["error"] == "invalid_grant"
    assert PASSWORD not in str(again)


async def test_items_go_with_their_owner(
    http: AsyncClient, started: StartedSystem, ada: Person, eve: Person
) -> None:
    """Only an admin can still ask for them: the owner's token is refused at once."""
    for owner in (ada, eve):
        for number in range(3):
            await owner.send("items", "POST", "/items", json={"name": f"Item {number}"})
    admin = await new_person(http, started)
    await started.command("grant-admin", admin.email)
    assert (await admin.log_in()).status_code == 200

    async def items_of(owner: Person) -> list[dict[str, Any]]:
        query = f"?owner_id={owner.account['id']}"
        answer = await admin.send("items", "GET", f"/items{query}")
        assert answer.status_code == 200, answer.text
        items: list[dict[str, Any]] = answer.json()["items"]
        return items

    assert len(await items_of(ada)) == 3
    assert (await ada.send("auth", "DELETE", "/auth/me")).status_code == 204
    async with asyncio.timeout(15):
        while await items_of(ada):  # noqa: ASYNC110 - another service hears of it
            await asyncio.sleep(0.05)
    assert len(await items_of(eve)) == 3


async def eventually(person: Person, service: str, path: str, status: int) -> None:
    """Wait for what another service hears a moment later."""
    async with asyncio.timeout(15):
        while (await person.send(service, "GET", path)).status_code != status:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
