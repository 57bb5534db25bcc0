"""What owners do with their subscriptions."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from shop import webhooks as shop
from shop.watching import rows
from sqlalchemy.ext.asyncio import AsyncSession
from standardwebhooks import Webhook, WebhookVerificationError

from service_platform.database import Database
from service_platform.encryption import DecryptionError
from service_platform.ids import new_id
from service_platform.settings import load_settings
from service_platform.webhooks import WebhookSettings
from service_platform.webhooks.secrets import WebhookSecrets
from service_testing.services import SECRET_KEY
from service_testing.webhook_receiver import WebhookReceiver

WEBHOOKS = "/api/v1/shop/webhooks"
URL = "https://example.com/hooks"
BODY = {"url": URL, "types": ["note.created"]}


async def test_the_secret_is_shown_once(subscriber: Any) -> None:
    answer = await subscriber.client.post(WEBHOOKS, json=BODY, headers=subscriber.headers)
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    webhook = answer.json()
    assert answer.headers["location"] == f"{WEBHOOKS}/{webhook['id']}"
    assert webhook["secret"].startswith("whsec_")
    read = await subscriber.ask("GET", webhook["id"])
    assert {**read, "secret": webhook["secret"]} == webhook
    assert (read["url"], read["types"], read["enabled"]) == (URL, ["note.created"], True)
    assert (await subscriber.ask("GET", ""))["items"] == [read]


async def test_the_secret_is_stored_encrypted(subscriber: Any, database: Database) -> None:
    webhook = await subscriber.subscribe(URL)
    [stored] = await rows(
        database,
        "SELECT secret FROM webhook_subscriptions WHERE account = :account",
        account=subscriber.account,
    )
    plain = WebhookSecrets((SECRET_KEY,)).decrypt(UUID(webhook["id"]), stored)
    assert plain not in stored
    with pytest.raises(DecryptionError):
        WebhookSecrets((SECRET_KEY,)).decrypt(new_id(), stored)


async def test_another_account_finds_nothing(subscriber: Any, tokens: Any) -> None:
    webhook = await subscriber.subscribe(URL)
    subscriber.headers = tokens.headers()
    path = f"{WEBHOOKS}/{webhook['id']}"
    for method, place in (
        ("GET", path),
        ("PATCH", path),
        ("DELETE", path),
        ("POST", f"{path}/secret"),
        ("POST", f"{path}/test"),
        ("POST", f"{path}/replay"),
        ("GET", f"{path}/deliveries"),
        ("GET", f"{path}/deliveries/{new_id()}"),
        ("POST", f"{path}/deliveries/{new_id()}/replay"),
    ):
        body = {"since": "2026-01-01T00:00:00Z"} if place.endswith("replay") else {}
        answer = await subscriber.client.request(
            method, place, headers=subscriber.headers, json=body if method != "GET" else None
        )
        assert answer.status_code == 404, (method, place, answer.text)
    assert (await subscriber.ask("GET", ""))["items"] == []


async def test_the_scope_is_needed(subscriber: Any, tokens: Any) -> None:
    headers = tokens.headers(scopes=["users:read"])
    for method, body in (("GET", None), ("POST", BODY)):
        answer = await subscriber.client.request(method, WEBHOOKS, headers=headers, json=body)
        assert answer.status_code == 403
    assert (await subscriber.client.get(WEBHOOKS)).status_code == 401


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"url": "ftp://example.com"}, "body.url"),
        ({"url": "https://user:secret@example.com"}, "body.url"),
        ({"url": "https://example.com/" + "x" * 3_000}, "body.url"),
        ({"types": []}, "body.types"),
        ({"types": ["note.created", "note.eaten"]}, "body.types.1"),
        ({"types": ["webhook.test"]}, "body.types.0"),
        ({"descriptions": "?"}, "body.descriptions"),
    ],
)
async def test_wrong_subscriptions_are_refused(
    subscriber: Any, change: dict[str, Any], field: str
) -> None:
    webhook = await subscriber.subscribe(URL)
    for method, place, body in (
        ("POST", WEBHOOKS, {**BODY, **change}),
        ("PATCH", f"{WEBHOOKS}/{webhook['id']}", change),
    ):
        answer = await subscriber.client.request(
            method, place, json=body, headers=subscriber.headers
        )
        assert answer.status_code == 422, answer.text
        assert [each["field"] for each in answer.json()["details"]] == [field]
        assert "secret" not in answer.text


async def test_an_account_has_so_many_subscriptions_and_no_more(subscriber: Any) -> None:
    limit = load_settings(WebhookSettings).webhooks_per_account
    for _ in range(limit):
        await subscriber.subscribe(URL)
    answer = await subscriber.client.post(WEBHOOKS, json=BODY, headers=subscriber.headers)
    assert (answer.status_code, answer.json()["error"]) == (409, "too_many_webhooks")


async def test_a_service_may_refuse_an_account(subscriber: Any, tokens: Any) -> None:
    headers = tokens.headers(shop.CLOSED)
    answer = await subscriber.client.post(WEBHOOKS, json=BODY, headers=headers)
    assert answer.status_code == 409


async def test_a_change_needs_the_version_that_was_read(subscriber: Any) -> None:
    webhook = await subscriber.subscribe(URL)
    place = f"{WEBHOOKS}/{webhook['id']}"
    etag = (await subscriber.client.get(place, headers=subscriber.headers)).headers["etag"]
    conditional = {**subscriber.headers, "if-match": etag}
    changed = await subscriber.client.patch(
        place, json={"description": "Warehouse", "types": ["note.deleted"]}, headers=conditional
    )
    assert changed.status_code == 200
    assert changed.json()["description"] == "Warehouse"
    assert changed.headers["etag"] != etag
    for method, body in (("PATCH", {"enabled": False}), ("DELETE", None)):
        answer = await subscriber.client.request(method, place, json=body, headers=conditional)
        assert answer.status_code == 412
    nothing = await subscriber.client.patch(place, json={}, headers=subscriber.headers)
    assert nothing.headers["etag"] == changed.headers["etag"]


async def test_both_secrets_sign_for_a_day_after_a_rotation(
    subscriber: Any, receiver: WebhookReceiver
) -> None:
    webhook = await subscriber.subscribe(receiver.url)
    rotated = await subscriber.ask("POST", f"{webhook['id']}/secret")
    until = datetime.fromisoformat(rotated["previous_valid_until"])
    assert until - datetime.fromisoformat(webhook["created_at"]) >= timedelta(hours=24)
    await subscriber.write()
    [request] = await receiver.until(1)
    for secret in (webhook["secret"], rotated["secret"]):
        Webhook(secret).verify(request.body, request.headers)

    await subscriber.execute(
        "UPDATE webhook_subscriptions SET previous_secret_until = now() - interval '1 second' "
        "WHERE account = :account"
    )
    await subscriber.write()
    request = (await receiver.until(2))[1]
    Webhook(rotated["secret"]).verify(request.body, request.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(webhook["secret"]).verify(request.body, request.headers)


async def test_a_test_message_is_sent_whatever_the_types(
    subscriber: Any, receiver: WebhookReceiver
) -> None:
    webhook = await subscriber.subscribe(receiver.url, "note.deleted")
    sent = await subscriber.ask("POST", f"{webhook['id']}/test")
    [request] = await receiver.until(1)
    message = Webhook(webhook["secret"]).verify(request.body, request.headers)
    assert (message["type"], message["data"]) == ("webhook.test", {"message": "It works."})
    await subscriber.until_status(webhook, "succeeded")
    read = await subscriber.ask("GET", f"{webhook['id']}/deliveries/{sent['id']}")
    assert read["payload"] == message
    assert read["response_status"] == 204


async def test_a_disabled_subscription_is_sent_nothing(
    subscriber: Any, receiver: WebhookReceiver
) -> None:
    receiver.open.clear()
    webhook = await subscriber.subscribe(receiver.url)
    await subscriber.write()
    await receiver.until(1)
    read = await subscriber.ask("PATCH", webhook["id"], json={"enabled": False})
    assert (read["enabled"], read["disabled_reason"]) == (False, "owner")
    receiver.open.set()
    [given_up] = await subscriber.deliveries(webhook)
    assert (given_up["status"], given_up["error"]) == ("failed", "disabled")
    await subscriber.write()
    assert len(await subscriber.deliveries(webhook)) == 1
    since = {"since": webhook["created_at"]}
    for path, body in (
        ("test", None),
        ("replay", since),
        (f"deliveries/{given_up['id']}/replay", None),
    ):
        answer = await subscriber.client.post(
            f"{WEBHOOKS}/{webhook['id']}/{path}", json=body, headers=subscriber.headers
        )
        assert (answer.status_code, answer.json()["error"]) == (409, "webhook_disabled")


async def test_deliveries_are_listed_by_status_page_by_page(
    subscriber: Any, receiver: WebhookReceiver
) -> None:
    webhook = await subscriber.subscribe(receiver.url)
    for number in range(5):
        await subscriber.write(str(number))
    await subscriber.until_status(webhook, "succeeded", 5)
    first = await subscriber.ask("GET", f"{webhook['id']}/deliveries?limit=3&status=succeeded")
    assert len(first["items"]) == 3
    second = await subscriber.ask(
        "GET",
        f"{webhook['id']}/deliveries?limit=3&status=succeeded&cursor={first['next_cursor']}",
    )
    ids = [each["id"] for page in (first, second) for each in page["items"]]
    assert ids == sorted(set(ids), reverse=True)
    assert len(ids) == 5
    assert (await subscriber.ask("GET", f"{webhook['id']}/deliveries?status=failed"))["items"] == []


async def test_secrets_are_encrypted_anew_by_a_new_secret_key(
    subscriber: Any, database: Database
) -> None:
    webhook = await subscriber.subscribe(URL)
    await subscriber.ask("POST", f"{webhook['id']}/secret")
    new = WebhookSecrets(("n" * 40, SECRET_KEY))

    async def renew(session: AsyncSession) -> None:
        last: UUID | None = UUID(int=0)
        while last is not None:
            last = await new.renew_batch(session, last)

    await database.run(renew)
    [stored] = await rows(
        database,
        "SELECT secret, previous_secret FROM webhook_subscriptions WHERE account = :account",
        account=subscriber.account,
    )
    for each in stored:
        WebhookSecrets(("n" * 40,)).decrypt(UUID(webhook["id"]), each)


def test_private_networks_are_refused_where_deployed() -> None:
    with pytest.raises(ValueError, match="must be false in staging and production"):
        WebhookSettings(environment="production", webhooks_allow_private=True)


async def test_messages_are_described_in_openapi(subscriber: Any) -> None:
    document = (await subscriber.client.get("/api/v1/openapi.json")).json()
    assert set(document["webhooks"]) == {"note.created", "note.deleted"}
    body = document["webhooks"]["note.created"]["post"]["requestBody"]["content"]
    schema = document["components"]["schemas"][
        body["application/json"]["schema"]["$ref"].rsplit("/", 1)[1]
    ]
    assert schema["properties"]["data"]["$ref"].endswith("/Note")
    assert schema["properties"]["type"]["const"] == "note.created"
