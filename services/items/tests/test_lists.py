"""Lists of items: pages, orders, search, tags, whose items."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any
from uuid import UUID

import pytest
from httpx2 import AsyncClient

from service_platform.ids import new_id
from service_testing.tokens import TestTokens

MakeClient = Callable[..., AbstractAsyncContextManager[AsyncClient]]
ITEMS = "/api/v1/items"
FURNITURE: list[dict[str, Any]] = [
    {"name": "Lamp", "description": "Black/white, 5kg", "price": 20, "tags": ["home", "light"]},
    {"name": "Äpfel", "description": "Grüne", "price": 3, "tags": ["food"]},
    {"name": "Desk", "price": 300.5, "tags": ["home"]},
    {"name": "Lampshade", "description": "see shop.example.com", "tags": ["home", "light"]},
    {"name": "Chair", "price": 20, "tags": []},
]


@pytest.fixture
def owner() -> UUID:
    return new_id()


@pytest.fixture
async def headers(client: AsyncClient, tokens: TestTokens, owner: UUID) -> dict[str, str]:
    """Of an account with furniture; somebody else has a lamp, too."""
    mine, other = tokens.headers(owner), tokens.headers()
    for item in FURNITURE:
        assert (await client.post(ITEMS, json=item, headers=mine)).status_code == 201
    assert (await client.post(ITEMS, json=FURNITURE[0], headers=other)).status_code == 201
    return mine


async def names(client: AsyncClient, headers: dict[str, str], **query: Any) -> list[str]:
    answer = await client.get(ITEMS, params=query, headers=headers)
    assert answer.status_code == 200, answer.text
    return [item["name"] for item in answer.json()["items"]]


async def test_the_newest_item_comes_first(client: AsyncClient, headers: dict[str, str]) -> None:
    assert await names(client, headers) == [item["name"] for item in reversed(FURNITURE)]


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("created_at", ["Lamp", "Äpfel", "Desk", "Lampshade", "Chair"]),
        ("-created_at", ["Chair", "Lampshade", "Desk", "Äpfel", "Lamp"]),
        ("updated_at", ["Lamp", "Äpfel", "Desk", "Lampshade", "Chair"]),
        ("-updated_at", ["Chair", "Lampshade", "Desk", "Äpfel", "Lamp"]),
        ("name", ["Chair", "Desk", "Lamp", "Lampshade", "Äpfel"]),
        ("-name", ["Äpfel", "Lampshade", "Lamp", "Desk", "Chair"]),
        ("price", ["Äpfel", "Lamp", "Chair", "Desk", "Lampshade"]),
        ("-price", ["Lampshade", "Desk", "Chair", "Lamp", "Äpfel"]),
    ],
)
async def test_pages_of_every_order_have_each_item_once(
    client: AsyncClient, headers: dict[str, str], sort: str, expected: list[str]
) -> None:
    assert await names(client, headers, sort=sort) == expected
    for limit in (1, 2, 5):
        seen: list[str] = []
        cursor: str | None = None
        for _ in range(6):
            query = {"sort": sort, "limit": limit} | ({"cursor": cursor} if cursor else {})
            page = (await client.get(ITEMS, params=query, headers=headers)).json()
            seen += [item["name"] for item in page["items"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert seen == expected


@pytest.mark.parametrize(
    ("q", "expected"),
    [
        ("lamp", {"Lamp", "Lampshade"}),
        ("LAMP", {"Lamp", "Lampshade"}),
        ("white", {"Lamp"}),
        ("black white", {"Lamp"}),
        ("black/whi", {"Lamp"}),
        ("5k", {"Lamp"}),
        ("example", {"Lampshade"}),
        ("shop.example.com", {"Lampshade"}),
        ("äpf grün", {"Äpfel"}),
        ("lamp desk", set()),
        ("amp", set()),
        ("'", set()),
        ("lamp' | 'desk", set()),
        ("lamp:*", {"Lamp", "Lampshade"}),
        ("\\", set()),
        ("!(lamp)", {"Lamp", "Lampshade"}),
        ("", {item["name"] for item in FURNITURE}),
    ],
)
async def test_search_finds_the_beginnings_of_words(
    client: AsyncClient, headers: dict[str, str], q: str, expected: set[str]
) -> None:
    assert set(await names(client, headers, q=q)) == expected


async def test_a_tag_narrows_the_list_and_two_narrow_it_more(
    client: AsyncClient, headers: dict[str, str]
) -> None:
    assert await names(client, headers, tag="home") == ["Lampshade", "Desk", "Lamp"]
    assert await names(client, headers, tag=["Home ", "light"]) == ["Lampshade", "Lamp"]
    assert await names(client, headers, tag="home", q="desk") == ["Desk"]
    assert await names(client, headers, tag="hom") == []


async def test_an_admin_may_list_the_items_of_any_account(
    client: AsyncClient, headers: dict[str, str], owner: UUID, tokens: TestTokens
) -> None:
    admin = tokens.headers(roles=["admin"])
    assert len(await names(client, admin, owner_id=str(owner))) == len(FURNITURE)
    assert await names(client, admin) == []
    assert len(await names(client, headers, owner_id=str(owner))) == len(FURNITURE)
    refused = await client.get(ITEMS, params={"owner_id": str(new_id())}, headers=headers)
    assert refused.status_code == 403


async def test_a_cursor_belongs_to_its_list(
    client: AsyncClient, headers: dict[str, str], tokens: TestTokens
) -> None:
    page = await client.get(ITEMS, params={"limit": 1}, headers=headers)
    cursor = page.json()["next_cursor"]
    for query, caller in (
        ({"sort": "name"}, headers),
        ({"q": "lamp"}, headers),
        ({"tag": "home"}, headers),
        ({}, tokens.headers()),
    ):
        answer = await client.get(ITEMS, params={"cursor": cursor, **query}, headers=caller)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_cursor")


@pytest.mark.parametrize(
    "query",
    [
        {"limit": 0},
        {"limit": 101},
        {"limit": "many"},
        {"sort": "owner_id"},
        {"q": "a\x00b"},
        {"q": "x" * 201},
        {"tag": "a\x00b"},
        {"tag": [str(number) for number in range(11)]},
        {"owner_id": "me"},
        {"cursor": "x" * 2_049},
    ],
    ids=lambda query: next(iter(query)),
)
async def test_a_wrong_question_is_refused(
    client: AsyncClient, headers: dict[str, str], query: dict[str, Any]
) -> None:
    answer = await client.get(ITEMS, params=query, headers=headers)
    assert answer.status_code == 422
    assert answer.json()["details"][0]["field"].startswith(f"query.{next(iter(query))}")


async def test_items_added_meanwhile_move_nothing(
    client: AsyncClient, headers: dict[str, str]
) -> None:
    first = (await client.get(ITEMS, params={"limit": 2}, headers=headers)).json()
    await client.post(ITEMS, json={"name": "New"}, headers=headers)
    rest = await names(client, headers, cursor=first["next_cursor"])
    assert rest == ["Desk", "Äpfel", "Lamp"]
