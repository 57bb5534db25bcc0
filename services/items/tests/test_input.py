"""How bodies and queries are read: the cases of decision 62."""

import gzip
import json
from typing import Any

import pytest
from httpx2 import AsyncClient, Response

from service_platform.ids import new_id
from service_testing.tokens import TestTokens

ITEMS = "/api/v1/items"
JSON = {"content-type": "application/json"}


@pytest.fixture
def mine(tokens: TestTokens) -> dict[str, str]:
    return tokens.headers(new_id())


async def post(client: AsyncClient, headers: dict[str, str], content: bytes) -> Response:
    return await client.post(ITEMS, content=content, headers={**JSON, **headers})


@pytest.mark.parametrize(
    ("length", "words", "kind"),
    [
        (201, "at most 200 characters", "string_too_long"),
        (0, "at least 1 char", "string_too_short"),
    ],
)
async def test_a_length_is_told_in_characters(
    client: AsyncClient, mine: dict[str, str], length: int, words: str, kind: str
) -> None:
    created = await client.post(ITEMS, json={"name": "Lamp"}, headers=mine)
    text = "ä" * length
    for answer in (
        await client.post(ITEMS, json={"name": text}, headers=mine),
        await client.patch(created.headers["location"], json={"name": text}, headers=mine),
        await client.post(ITEMS, json={"name": "a", "tags": [text]}, headers=mine),
    ):
        (detail,) = answer.json()["details"]
        expected = words.replace("200", "50") if "tags" in detail["field"] else words
        assert expected in detail["message"]
        assert detail["type"] == kind


async def test_every_text_of_a_request_is_told_in_characters(
    client: AsyncClient, mine: dict[str, str]
) -> None:
    body = {"name": "a", "description": "x" * 10_001}
    for answer in (
        await client.post(ITEMS, json=body, headers=mine),
        await client.get(ITEMS, params={"q": "x" * 201}, headers=mine),
        await client.get(ITEMS, params={"tag": "x" * 51}, headers=mine),
        await client.get(ITEMS, params={"cursor": "x" * 2_049}, headers=mine),
    ):
        (detail,) = answer.json()["details"]
        assert detail["type"] == "string_too_long"
        assert detail["message"].endswith("characters")
    answer = await client.post(ITEMS, json={"name": "a", "tags": ["b"] * 21}, headers=mine)
    (detail,) = answer.json()["details"]
    assert detail["type"] == "too_long"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
async def test_json_is_utf8(client: AsyncClient, mine: dict[str, str], encoding: str) -> None:
    answer = await post(client, mine, json.dumps({"name": "Lamp"}).encode(encoding))
    assert (answer.status_code, answer.json()["error"]) == (400, "malformed_body")


async def test_json_may_begin_with_a_byte_order_mark_of_utf8(
    client: AsyncClient, mine: dict[str, str]
) -> None:
    answer = await post(client, mine, b"\xef\xbb\xbf" + '{"name": "Lämpchen"}'.encode())
    assert answer.json()["name"] == "Lämpchen"


async def test_of_duplicate_members_the_last_counts(
    client: AsyncClient, mine: dict[str, str]
) -> None:
    answer = await post(client, mine, b'{"name": "first", "name": "last"}')
    assert (answer.status_code, answer.json()["name"]) == (201, "last")


@pytest.mark.parametrize(
    ("price", "expected"),
    [
        ('"19.50"', 19.5),
        ('"0"', 0),
        ("19.50", 19.5),
        ("1e2", 100),
        ("1e-400", 0),  # a double that is zero, as for every reader of JSON that has doubles
        ("-0.0", 0),
    ],
)
async def test_prices_that_are_taken(
    client: AsyncClient, mine: dict[str, str], price: str, expected: float
) -> None:
    answer = await post(client, mine, f'{{"name": "a", "price": {price}}}'.encode())
    assert (answer.status_code, answer.json()["price"]) == (201, expected)


@pytest.mark.parametrize(
    "price",
    [
        '"1_000"', '"\u0661\u0662"', '"\uff11"', '" 1"', '"1e2"', '"+1"', '"1."', '".5"', '""',
        '"0x1"', '"1,5"', '"1\\n"', "true", "-3e155", "1e400", "1e-3", "-1", "10000000000", "[1]",
        '{"a": 1}',
    ],
)  # fmt: skip
async def test_prices_that_are_refused(
    client: AsyncClient, mine: dict[str, str], price: str
) -> None:
    answer = await post(client, mine, f'{{"name": "a", "price": {price}}}'.encode())
    assert answer.status_code == 422
    assert [each["field"] for each in answer.json()["details"]] == ["body.price"]


@pytest.mark.parametrize("query", ["tag[]=home", "Tag=home", "utm_source=x", "nonsense"])
async def test_unknown_query_parameters_are_ignored(
    client: AsyncClient, mine: dict[str, str], query: str
) -> None:
    await client.post(ITEMS, json={"name": "Lamp"}, headers=mine)
    answer = await client.get(f"{ITEMS}?{query}", headers=mine)
    assert [each["name"] for each in answer.json()["items"]] == ["Lamp"]


@pytest.mark.parametrize("coding", ["gzip", "GZIP", "br", "deflate", "identity, gzip", "nonsense"])
async def test_a_compressed_body_is_415(
    client: AsyncClient, mine: dict[str, str], coding: str
) -> None:
    for content in (gzip.compress(b'{"name": "Lamp"}'), b'{"name": "Lamp"}'):
        answer = await post(client, {**mine, "content-encoding": coding}, content)
        assert (answer.status_code, answer.json()["error"]) == (415, "unsupported_media_type")
        assert answer.headers["accept-encoding"] == "identity"


async def test_a_body_may_be_said_not_to_be_compressed(
    client: AsyncClient, mine: dict[str, str]
) -> None:
    answer = await post(client, {**mine, "content-encoding": "Identity"}, b'{"name": "Lamp"}')
    assert answer.status_code == 201


@pytest.mark.parametrize("content", [b"{", b"{}", b'{"name": "Lamp"}'])
async def test_without_a_token_the_body_is_not_looked_at(
    client: AsyncClient, content: bytes
) -> None:
    for headers in ({}, {"authorization": "Bearer nonsense"}, {"content-encoding": "gzip"}):
        answer = await post(client, headers, content)
        assert answer.status_code == 401


async def test_a_repetition_tells_what_the_first_request_did_also_when_that_is_gone(
    client: AsyncClient, mine: dict[str, str]
) -> None:
    headers = {**mine, "idempotency-key": "lamp"}

    async def create() -> tuple[Response, Any]:
        answer = await client.post(ITEMS, json={"name": "Lamp"}, headers=headers)
        return answer, answer.json()

    first, item = await create()
    await client.delete(first.headers["location"], headers=mine)
    again, same = await create()
    assert (again.status_code, same) == (201, item)
    assert again.content == first.content
    for name in ("etag", "location", "content-type"):
        assert again.headers[name] == first.headers[name]
    assert again.headers["idempotency-replayed"] == "true"
    assert (await client.get(again.headers["location"], headers=mine)).status_code == 404
    assert (await client.get(ITEMS, headers=mine)).json()["items"] == []
