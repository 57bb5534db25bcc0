"""Webhooks of items: what accounts are told."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
from httpx2 import AsyncClient
from sqlalchemy import text
from standardwebhooks import Webhook

from items.models import ClosedAccount
from service_platform.database import Database
from service_platform.ids import new_id
from service_testing.tokens import TestTokens
from service_testing.webhook_receiver import WebhookReceiver, receiving

ITEMS = "/api/v1/items"
WEBHOOKS = "/api/v1/items/webhooks"
TYPES = ["item.created", "item.updated", "item.deleted"]


@pytest.fixture(scope="session")
def service_settings() -> dict[str, str]:
    return {
        "JOBS_IN_SERVICE": "true",
        "JOBS_POLL_SECONDS": "0.1",
        "WEBHOOKS_ALLOW_PRIVATE": "true",
    }


@pytest.fixture
async def receiver() -> AsyncIterator[WebhookReceiver]:
    async with receiving() as opened:
        yield opened


@pytest.fixture
def owner() -> UUID:
    return new_id()


@pytest.fixture
def mine(tokens: TestTokens, owner: UUID) -> dict[str, str]:
    return tokens.headers(owner)


async def subscribe(client: AsyncClient, url: str, headers: dict[str, str]) -> Any:
    answer = await client.post(WEBHOOKS, json={"url": url, "types": TYPES}, headers=headers)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def test_every_change_of_an_item_is_told(
    client: AsyncClient, receiver: WebhookReceiver, mine: dict[str, str]
) -> None:
    webhook = await subscribe(client, receiver.url, mine)
    created = (await client.post(ITEMS, json={"name": "Lamp"}, headers=mine)).json()
    place = f"{ITEMS}/{created['id']}"
    await receiver.until(1)
    updated = (await client.patch(place, json={"price": 24.99}, headers=mine)).json()
    await receiver.until(2)
    await client.patch(place, json={}, headers=mine)  # changes nothing
    await client.delete(place, headers=mine)
    requests = await receiver.until(3)
    told = [Webhook(webhook["secret"]).verify(each.body, each.headers) for each in requests]
    assert [(each["type"], each["data"]) for each in told] == [
        ("item.created", created),
        ("item.updated", updated),
        ("item.deleted", updated),
    ]


async def test_a_change_that_fails_is_not_told(
    client: AsyncClient, receiver: WebhookReceiver, mine: dict[str, str]
) -> None:
    await subscribe(client, receiver.url, mine)
    created = (await client.post(ITEMS, json={"name": "Lamp"}, headers=mine)).json()
    stale = mine | {"if-match": '"7"'}
    refused = await client.patch(f"{ITEMS}/{created['id']}", json={"price": 1}, headers=stale)
    assert refused.status_code == 412
    await client.delete(f"{ITEMS}/{created['id']}", headers=mine)
    requests = await receiver.until(2)
    assert {each.message["type"] for each in requests} == {"item.created", "item.deleted"}


async def test_a_repetition_is_told_once(
    client: AsyncClient, receiver: WebhookReceiver, mine: dict[str, str]
) -> None:
    await subscribe(client, receiver.url, mine)
    once = mine | {"idempotency-key": "lamp"}
    for _ in range(3):
        await client.post(ITEMS, json={"name": "Lamp"}, headers=once)
    other = (await client.post(ITEMS, json={"name": "Desk"}, headers=mine)).json()
    requests = await receiver.until(2)
    assert sorted(each.message["data"]["name"] for each in requests) == ["Desk", "Lamp"]
    assert other["name"] == "Desk"


async def test_the_webhooks_of_a_closed_account_are_erased_and_none_is_made(
    client: AsyncClient,
    receiver: WebhookReceiver,
    database: Database,
    owner: UUID,
    mine: dict[str, str],
) -> None:
    await subscribe(client, receiver.url, mine)
    await client.post(ITEMS, json={"name": "Lamp"}, headers=mine)
    await receiver.until(1)
    async with database.session() as session:
        session.add(ClosedAccount(account_id=owner))
        await session.commit()
    left = (
        "SELECT (SELECT count(*) FROM webhook_subscriptions WHERE account = :account) + "
        "(SELECT count(*) FROM items WHERE owner_id = CAST(:account AS uuid))"
    )
    while True:
        async with database.session() as session:
            if not await session.scalar(text(left), {"account": str(owner)}):
                break
    refused = await client.post(WEBHOOKS, json={"url": receiver.url, "types": TYPES}, headers=mine)
    assert refused.status_code == 401


async def test_reading_items_is_not_enough(client: AsyncClient, tokens: TestTokens) -> None:
    headers = tokens.headers(scopes=["items:read"])
    assert (await client.get(WEBHOOKS, headers=headers)).status_code == 403
