"""What people do with items, from the first one to the erasure of their account."""

import asyncio
from typing import Any

from httpx2 import AsyncClient
from tests.e2e.answers import eventually
from tests.e2e.people import Person, new_person
from tests.e2e.system import StartedSystem


async def test_from_a_new_item_to_a_deleted_one(ada: Person, eve: Person) -> None:
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


async def test_the_token_of_an_erased_account_reads_no_items(ada: Person) -> None:
    await ada.send("items", "POST", "/items", json={"name": "Lamp"})
    assert (await ada.send("auth", "DELETE", "/auth/me")).status_code == 204
    await eventually(ada, "items", "/items", 401)


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
