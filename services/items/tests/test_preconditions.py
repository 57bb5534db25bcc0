"""`If-Match` and `If-None-Match` count for every method (RFC 9110, section 13.2.2)."""

import pytest
from httpx2 import AsyncClient

from service_platform.ids import new_id
from service_testing.tokens import TestTokens

ITEMS = "/api/v1/items"
CONDITIONS = [
    ({"if-match": '"1"'}, True, None),
    ({"if-match": "*"}, True, None),
    ({"if-match": '"2"'}, False, 412),
    ({"if-match": 'W/"1"'}, False, 412),
    ({"if-none-match": '"2"'}, True, None),
    ({"if-none-match": '"1"'}, False, 304),
    ({"if-none-match": 'W/"1"'}, False, 304),
    ({"if-none-match": "*"}, False, 304),
    ({"if-match": '"2"', "if-none-match": '"1"'}, False, 412),
    ({"if-match": '"1"', "if-none-match": '"1"'}, False, 304),
    ({"if-match": '"1"', "if-none-match": '"2"'}, True, None),
]
"""Headers of a request about version 1, whether they hold, and what a read is answered if not."""


@pytest.fixture
def mine(tokens: TestTokens) -> dict[str, str]:
    return tokens.headers(new_id())


@pytest.mark.parametrize("method", ["GET", "HEAD", "PATCH", "DELETE"])
@pytest.mark.parametrize(("conditions", "holds", "read"), CONDITIONS)
async def test_of_an_item(
    client: AsyncClient,
    mine: dict[str, str],
    method: str,
    conditions: dict[str, str],
    *,
    holds: bool,
    read: int | None,
) -> None:
    created = await client.post(ITEMS, json={"name": "Lamp"}, headers=mine)
    place = created.headers["location"]
    body = {"price": 1} if method == "PATCH" else None
    answer = await client.request(method, place, headers={**mine, **conditions}, json=body)
    succeeded = 204 if method == "DELETE" else 200
    refused = read if method in {"GET", "HEAD"} else 412
    assert answer.status_code == (succeeded if holds else refused)
    after = await client.get(place, headers=mine)
    if not holds:
        assert after.json() == created.json()
    elif method == "DELETE":
        assert after.status_code == 404
    if answer.status_code in {200, 304}:
        assert answer.headers["etag"] == ('"2"' if method == "PATCH" else '"1"')


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
async def test_an_item_that_does_not_exist_is_404_whatever_the_conditions(
    client: AsyncClient, mine: dict[str, str], method: str
) -> None:
    body = {"price": 1} if method == "PATCH" else None
    for conditions in ({"if-match": "*"}, {"if-none-match": "*"}, {"if-match": '"1"'}):
        headers = {**mine, **conditions}
        answer = await client.request(method, f"{ITEMS}/{new_id()}", headers=headers, json=body)
        assert answer.status_code == 404


@pytest.mark.parametrize(
    ("conditions", "created"),
    [
        ({"if-match": "*"}, True),
        ({"if-match": '"1"'}, False),
        ({"if-none-match": "*"}, False),
        ({"if-none-match": '"1"'}, True),
    ],
)
async def test_of_the_list_which_exists_and_has_no_etag(
    client: AsyncClient, mine: dict[str, str], conditions: dict[str, str], *, created: bool
) -> None:
    headers = {**mine, **conditions}
    answer = await client.post(ITEMS, json={"name": "Lamp"}, headers=headers)
    assert answer.status_code == (201 if created else 412)
    listed = await client.get(ITEMS, headers=mine)
    assert len(listed.json()["items"]) == int(created)
    refused = 304 if "if-none-match" in conditions else 412
    answer = await client.get(ITEMS, headers=headers)
    assert answer.status_code == (200 if created else refused)


async def test_wrong_input_is_told_before_a_condition_that_does_not_hold(
    client: AsyncClient, mine: dict[str, str]
) -> None:
    place = (await client.post(ITEMS, json={"name": "Lamp"}, headers=mine)).headers["location"]
    answer = await client.patch(place, json={"name": ""}, headers={**mine, "if-match": '"7"'})
    assert answer.status_code == 422


@pytest.mark.parametrize("header", ["if-match", "if-none-match"])
async def test_a_condition_that_cannot_be_read_changes_nothing(
    client: AsyncClient, mine: dict[str, str], header: str
) -> None:
    place = (await client.post(ITEMS, json={"name": "Lamp"}, headers=mine)).headers["location"]
    for method, body in (("PATCH", {"price": 1}), ("DELETE", None)):
        headers = {**mine, header: "1"}
        answer = await client.request(method, place, headers=headers, json=body)
        assert answer.status_code == 400
    assert (await client.get(place, headers=mine)).headers["etag"] == '"1"'
