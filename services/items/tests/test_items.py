"""Adding, reading, changing and deleting items."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from httpx2 import AsyncClient, Response
from redis.asyncio import Redis
from redis.asyncio.client import Monitor

from items.models import ClosedAccount
from service_platform.database import Database
from service_platform.ids import new_id
from service_testing.sql_log import SqlLog
from service_testing.tokens import TestTokens
from service_testing.valkey import LocalValkey

MakeClient = Callable[..., AbstractAsyncContextManager[AsyncClient]]
ITEMS = "/api/v1/items"


async def add(client: AsyncClient, headers: dict[str, str], **members: Any) -> Response:
    return await client.post(ITEMS, json={"name": "Lamp", **members}, headers=headers)


LISTENING = {"XREAD", "XREADGROUP", "XAUTOCLAIM", "XPENDING", "XINFO", "ZRANGEBYSCORE", "PING"}
"""What the service asks Redis all the time, whether there are requests or not."""


async def sent_by_clients(monitor: Monitor, until: str) -> list[str]:
    """The commands Redis was sent; not those a script runs inside, and not those of listening."""
    sent: list[str] = []
    async for command in monitor.listen():
        name = command["command"].split()[0].upper()
        if until in command["command"]:
            return sent
        if command["client_type"] != "lua" and name not in LISTENING:
            sent.append(name)
    return sent


@pytest.fixture
def mine(tokens: TestTokens) -> dict[str, str]:
    """Headers of one account."""
    return tokens.headers(new_id())


@pytest.fixture
def other(tokens: TestTokens) -> dict[str, str]:
    """Headers of another account."""
    return tokens.headers(new_id())


async def test_a_new_item_is_answered_with_its_place_and_version(
    client: AsyncClient, tokens: TestTokens
) -> None:
    owner = new_id()
    answer = await add(
        client, tokens.headers(owner), description="For the desk", price=9.5, tags=["home"]
    )
    assert answer.status_code == 201
    item = answer.json()
    assert answer.headers["location"] == f"{ITEMS}/{item['id']}"
    assert answer.headers["etag"] == '"1"'
    assert set(item) == {
        "id", "owner_id", "name", "description", "price", "tags", "created_at", "updated_at",
    }  # fmt: skip
    assert item["owner_id"] == str(owner)
    assert (item["name"], item["description"]) == ("Lamp", "For the desk")
    assert (item["price"], item["tags"]) == (9.5, ["home"])
    assert item["id"][14] == "7"
    assert item["created_at"].endswith("Z")


async def test_only_a_name_is_needed(client: AsyncClient, mine: dict[str, str]) -> None:
    item = (await add(client, mine)).json()
    assert (item["description"], item["price"], item["tags"]) == (None, None, [])


@pytest.mark.parametrize("price", [0, 0.01, 9.5, 19, 0.1, 9_999_999_999.99, 1234567.89])
async def test_a_price_comes_back_as_the_number_that_was_sent(
    client: AsyncClient, mine: dict[str, str], price: float
) -> None:
    made = await add(client, mine, price=price)
    read = await client.get(made.headers["location"], headers=mine)
    assert made.json()["price"] == read.json()["price"] == price


async def test_text_of_every_script_is_kept(client: AsyncClient, mine: dict[str, str]) -> None:
    name = "Lämpchen 灯 🪔 مصباح"
    made = await add(client, mine, name=name, description="Zeile\nZeile\t\u202e")
    assert made.json()["name"] == name
    assert made.json()["description"] == "Zeile\nZeile\t\u202e"


async def test_what_looks_equal_is_stored_equal(client: AsyncClient, mine: dict[str, str]) -> None:
    made = await add(client, mine, name="  Cafe\u0301 ", tags=["Home", " home", "HOME "])
    assert made.json()["name"] == "Caf\u00e9"
    assert made.json()["tags"] == ["home"]


@pytest.mark.parametrize(
    ("members", "wrong"),
    [
        ({"name": None}, "name"),
        ({"name": ""}, "name"),
        ({"name": "  "}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"name": "a\x00b"}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": 5}, "name"),
        ({"description": "a\x00b"}, "description"),
        ({"description": "a\x1b[31m"}, "description"),
        ({"description": "x" * 10_001}, "description"),
        ({"price": -0.01}, "price"),
        ({"price": 0.001}, "price"),
        ({"price": 10_000_000_000}, "price"),
        ({"price": 1e300}, "price"),
        ({"price": "NaN"}, "price"),
        ({"price": "Infinity"}, "price"),
        ({"price": True}, "price"),
        ({"price": "dear"}, "price"),
        ({"tags": "home"}, "tags"),
        ({"tags": [""]}, "tags.0"),
        ({"tags": ["a\x00"]}, "tags.0"),
        ({"tags": ["x" * 51]}, "tags.0"),
        ({"tags": [str(number) for number in range(21)]}, "tags"),
        ({"tags": None}, "tags"),
        ({"owner_id": "01a20a18-1754-7618-bce7-f4d3b9cc0000"}, "owner_id"),
        ({"id": "01a20a18-1754-7618-bce7-f4d3b9cc0000"}, "id"),
    ],
    ids=lambda value: str(value)[:40].encode("unicode_escape").decode(),
)
async def test_a_wrong_member_is_named_and_its_value_not_repeated(
    client: AsyncClient, mine: dict[str, str], members: dict[str, Any], wrong: str
) -> None:
    made = await add(client, mine)
    for answer in (
        await add(client, mine, **members),
        await client.patch(made.headers["location"], json=members, headers=mine),
    ):
        assert answer.status_code == 422
        problem = answer.json()
        assert problem["error"] == "validation_error"
        assert [detail["field"] for detail in problem["details"]] == [f"body.{wrong}"]
        value = str(next(iter(members.values())))
        assert len(value) < 4 or value not in answer.text


async def test_numbers_beyond_every_type_are_refused(
    client: AsyncClient, mine: dict[str, str]
) -> None:
    for number in ("1e400", "-1e400", "9" * 400, "9" * 10_000, "NaN", "Infinity"):
        answer = await client.post(
            ITEMS,
            content=f'{{"name": "a", "price": {number}}}',
            headers={**mine, "content-type": "application/json"},
        )
        assert answer.status_code in {400, 422}, number


async def test_half_a_surrogate_pair_is_refused(client: AsyncClient, mine: dict[str, str]) -> None:
    answer = await client.post(
        ITEMS,
        content=b'{"name": "a \\ud800 b"}',
        headers={**mine, "content-type": "application/json"},
    )
    assert answer.status_code == 422


async def test_an_item_is_read_with_its_version(client: AsyncClient, mine: dict[str, str]) -> None:
    made = await add(client, mine, price=1)
    read = await client.get(made.headers["location"], headers=mine)
    assert read.status_code == 200
    assert read.json() == made.json()
    assert read.headers["etag"] == made.headers["etag"]


async def test_what_a_client_has_already_is_not_sent_again(
    client: AsyncClient, mine: dict[str, str]
) -> None:
    made = await add(client, mine)
    for known in (made.headers["etag"], f"W/{made.headers['etag']}", '"7", "1"', "*"):
        read = await client.get(made.headers["location"], headers={**mine, "if-none-match": known})
        assert (read.status_code, read.content) == (304, b"")
        assert read.headers["etag"] == made.headers["etag"]
    read = await client.get(made.headers["location"], headers={**mine, "if-none-match": '"2"'})
    assert read.status_code == 200


async def test_a_change_touches_only_what_it_names(
    client: AsyncClient, mine: dict[str, str]
) -> None:
    made = await add(client, mine, description="d", price=1, tags=["a"])
    changed = await client.patch(made.headers["location"], json={"price": 2.5}, headers=mine)
    assert changed.status_code == 200
    assert changed.headers["etag"] == '"2"'
    before, after = made.json(), changed.json()
    assert after["updated_at"] > before["updated_at"]
    assert after == {**before, "price": 2.5, "updated_at": after["updated_at"]}


async def test_null_takes_description_and_price_away(
    client: AsyncClient, mine: dict[str, str]
) -> None:
    made = await add(client, mine, description="d", price=1)
    changed = await client.patch(
        made.headers["location"], json={"description": None, "price": None}, headers=mine
    )
    assert (changed.json()["description"], changed.json()["price"]) == (None, None)


async def test_a_change_that_says_nothing_changes_nothing(
    client: AsyncClient, mine: dict[str, str]
) -> None:
    made = await add(client, mine)
    place, seen = made.headers["location"], {**mine, "if-match": made.headers["etag"]}
    same = await client.patch(place, json={}, headers=seen)
    assert same.status_code == 200
    assert (same.headers["etag"], same.json()) == (made.headers["etag"], made.json())
    await client.patch(place, json={"price": 1}, headers=mine)
    assert (await client.patch(place, json={}, headers=seen)).status_code == 412


async def test_the_tag_of_a_compressed_answer_is_accepted(
    client: AsyncClient, mine: dict[str, str]
) -> None:
    made = await add(client, mine, description="long " * 500)
    place = made.headers["location"]
    read = await client.get(place, headers={**mine, "accept-encoding": "gzip"})
    assert (read.headers["content-encoding"], read.headers["etag"]) == ("gzip", '"1-gzip"')
    known = {**mine, "if-none-match": read.headers["etag"]}
    assert (await client.get(place, headers=known)).status_code == 304
    seen = {**mine, "if-match": read.headers["etag"]}
    assert (await client.patch(place, json={"price": 1}, headers=seen)).status_code == 200
    assert (await client.patch(place, json={"price": 2}, headers=seen)).status_code == 412


async def test_a_change_of_what_has_changed_meanwhile_is_refused(
    client: AsyncClient, mine: dict[str, str]
) -> None:
    made = await add(client, mine)
    place, seen = made.headers["location"], {**mine, "if-match": made.headers["etag"]}
    assert (await client.patch(place, json={"price": 1}, headers=seen)).status_code == 200
    stale = await client.patch(place, json={"price": 2}, headers=seen)
    assert (stale.status_code, stale.json()["error"]) == (412, "precondition_failed")
    assert (await client.delete(place, headers=seen)).status_code == 412
    assert (await client.get(place, headers=mine)).json()["price"] == 1


async def test_without_a_condition_the_last_change_wins(
    client: AsyncClient, mine: dict[str, str]
) -> None:
    place = (await add(client, mine)).headers["location"]
    for price in (1, 2):
        assert (await client.patch(place, json={"price": price}, headers=mine)).is_success
    assert (await client.get(place, headers=mine)).json()["price"] == 2


async def test_a_condition_that_cannot_be_read_changes_nothing(
    client: AsyncClient, mine: dict[str, str]
) -> None:
    place = (await add(client, mine)).headers["location"]
    answer = await client.patch(place, json={"price": 1}, headers={**mine, "if-match": "1"})
    assert answer.status_code == 400


async def test_a_deleted_item_is_gone(client: AsyncClient, mine: dict[str, str]) -> None:
    made = await add(client, mine)
    place = made.headers["location"]
    seen = {**mine, "if-match": made.headers["etag"]}
    assert (await client.delete(place, headers=seen)).status_code == 204
    assert (await client.get(place, headers=mine)).json()["error"] == "item_not_found"
    assert (await client.delete(place, headers=mine)).status_code == 404


async def test_an_item_of_somebody_else_is_not_there(
    client: AsyncClient, mine: dict[str, str], other: dict[str, str]
) -> None:
    made = await add(client, mine)
    place = made.headers["location"]
    seen = {**other, "if-match": made.headers["etag"]}
    nowhere = f"{ITEMS}/{new_id()}"
    for answer, absent in (
        (await client.get(place, headers=other), await client.get(nowhere, headers=other)),
        (
            await client.patch(place, json={"price": 1}, headers=seen),
            await client.patch(nowhere, json={"price": 1}, headers=seen),
        ),
        (await client.delete(place, headers=seen), await client.delete(nowhere, headers=seen)),
    ):
        assert answer.status_code == 404
        hidden = {"request_id", "trace_id", "instance"}
        assert {k: v for k, v in answer.json().items() if k not in hidden} == {
            k: v for k, v in absent.json().items() if k not in hidden
        }
    assert (await client.get(place, headers=mine)).json() == made.json()


async def test_even_an_admin_reads_and_changes_only_own_items(
    client: AsyncClient, mine: dict[str, str], tokens: TestTokens
) -> None:
    place = (await add(client, mine)).headers["location"]
    admin = tokens.headers(roles=["admin"])
    assert (await client.get(place, headers=admin)).status_code == 404
    assert (await client.delete(place, headers=admin)).status_code == 404


@pytest.mark.parametrize("item_id", ["1", "x", "%00", "00000000-0000-0000-0000-00000000000g"])
async def test_an_id_that_is_none_is_refused(
    client: AsyncClient, mine: dict[str, str], item_id: str
) -> None:
    assert (await client.get(f"{ITEMS}/{item_id}", headers=mine)).status_code == 422


async def test_without_a_token_nothing_is_done(client: AsyncClient) -> None:
    for method, path in (
        ("POST", ITEMS),
        ("GET", ITEMS),
        ("GET", f"{ITEMS}/{new_id()}"),
        ("PATCH", f"{ITEMS}/{new_id()}"),
        ("DELETE", f"{ITEMS}/{new_id()}"),
    ):
        answer = await client.request(method, path)
        assert answer.status_code == 401, (method, path)
        assert answer.headers["www-authenticate"] == "Bearer"


async def test_reading_and_writing_need_their_scopes(
    client: AsyncClient, tokens: TestTokens
) -> None:
    owner = new_id()
    may_read = tokens.headers(owner, scopes=["items:read"])
    may_write = tokens.headers(owner, scopes=["items:write"])
    assert (await add(client, may_read)).status_code == 403
    made = await add(client, may_write)
    assert made.status_code == 201
    assert (await client.get(made.headers["location"], headers=may_write)).status_code == 403
    assert (await client.get(made.headers["location"], headers=may_read)).status_code == 200
    assert (await client.get(ITEMS, headers=may_write)).status_code == 403
    assert (await client.delete(made.headers["location"], headers=may_read)).status_code == 403


async def test_a_request_sent_again_with_its_key_adds_nothing(
    client: AsyncClient, mine: dict[str, str], other: dict[str, str]
) -> None:
    key = {"idempotency-key": "first-lamp"}
    first = await add(client, {**mine, **key}, price=9.5)
    again = await add(client, {**mine, **key}, price=9.5)
    assert (again.status_code, again.content) == (201, first.content)
    for name in ("location", "etag", "content-type"):
        assert again.headers[name] == first.headers[name]
    assert len((await client.get(ITEMS, headers=mine)).json()["items"]) == 1
    another = await add(client, {**other, **key}, price=9.5)
    assert another.json()["id"] != first.json()["id"]


async def test_a_key_used_for_another_item_is_refused(
    client: AsyncClient, mine: dict[str, str]
) -> None:
    key = {"idempotency-key": "first-lamp"}
    await add(client, {**mine, **key})
    answer = await add(client, {**mine, **key}, price=1)
    assert (answer.status_code, answer.json()["error"]) == (422, "idempotency_key_reused")


async def test_an_item_is_read_by_one_statement_and_one_redis_command(
    make_client: MakeClient, mine: dict[str, str], own_redis: LocalValkey, sql_log: SqlLog
) -> None:
    async with (
        make_client(REDIS_URL=own_redis.url) as client,
        Redis.from_url(own_redis.url, decode_responses=True) as redis,
    ):
        place = (await add(client, mine)).headers["location"]
        await client.get(place, headers=mine)  # connections are there, the script is known
        async with redis.client() as connected, redis.monitor() as monitor:
            await connected.echo("the beginning")
            await sent_by_clients(monitor, until="the beginning")
            sql_log.clear()
            assert (await client.get(place, headers=mine)).status_code == 200
            statements = sql_log.statements()
            await connected.echo("the end")
            sent = await sent_by_clients(monitor, until="the end")
    assert sent == ["EVALSHA"]
    of_request = [each for each in statements if "closed_accounts" not in each]
    assert [each.startswith("SELECT items.id") for each in of_request] == [True]


async def test_a_closed_account_gets_no_new_items(
    client: AsyncClient, tokens: TestTokens, database: Database
) -> None:
    owner = new_id()
    async with database.session() as session:
        session.add(ClosedAccount(account_id=owner))
        await session.commit()
    answer = await add(client, tokens.headers(owner))
    assert answer.status_code == 401
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]
