"""What subscribers are sent, and what becomes of it when they fail."""

import asyncio
from typing import Any

import pytest
from fastapi import FastAPI
from shop import webhooks as shop
from shop.watching import rows, until
from sqlalchemy.ext.asyncio import AsyncSession
from standardwebhooks import Webhook, WebhookVerificationError

from service_platform.database import Database
from service_platform.jobs import enqueue
from service_platform.webhooks import delivery, forget_webhooks
from service_testing.webhook_receiver import WebhookReceiver, receiving


async def test_a_subscriber_gets_a_signed_message(
    subscriber: Any, receiver: WebhookReceiver
) -> None:
    webhook = await subscriber.subscribe(receiver.url)
    assert (await subscriber.write("Hällo")).status_code == 204
    [request] = await receiver.until(1)
    message = Webhook(webhook["secret"]).verify(request.body, request.headers)
    assert message == {
        "type": "note.created",
        "timestamp": message["timestamp"],
        "data": {"text": "Hällo"},
    }
    assert message["timestamp"].endswith("Z")
    assert request.headers["content-type"] == "application/json"
    assert request.headers["user-agent"].startswith("shop/")
    [sent] = await subscriber.until_status(webhook, "succeeded")
    assert sent["id"] == request.headers["webhook-id"]
    assert (sent["attempts"], sent["response_status"], sent["error"]) == (1, 204, None)
    assert "traceparent" not in request.headers
    with pytest.raises(WebhookVerificationError):
        Webhook(webhook["secret"]).verify(request.body + b" ", request.headers)


async def test_of_a_change_that_fails_nobody_is_told(
    subscriber: Any, receiver: WebhookReceiver
) -> None:
    webhook = await subscriber.subscribe(receiver.url)
    assert (await subscriber.write(fails=True)).status_code == 409
    assert await subscriber.deliveries(webhook) == []
    await subscriber.write()
    await receiver.until(1)
    assert len(receiver.requests) == 1


async def test_only_the_account_is_told_and_only_of_what_it_asked_for(
    subscriber: Any, receiver: WebhookReceiver, tokens: Any
) -> None:
    webhook = await subscriber.subscribe(receiver.url)
    other_types = await subscriber.subscribe(receiver.url, "note.deleted")
    mine = subscriber.headers
    subscriber.headers = tokens.headers()
    await subscriber.write("of another")
    subscriber.headers = mine
    await subscriber.write("mine")
    [request] = await receiver.until(1)
    await subscriber.until_status(webhook, "succeeded")
    assert request.message["data"] == {"text": "mine"}
    assert await subscriber.deliveries(other_types) == []


async def test_what_fails_is_sent_again_under_the_same_id_until_it_succeeds(
    subscriber: Any, receiver: WebhookReceiver
) -> None:
    receiver.status = 500
    webhook = await subscriber.subscribe(receiver.url)
    await subscriber.write()
    await receiver.until(3)
    receiver.status = 200
    [sent] = await subscriber.until_status(webhook, "succeeded")
    assert sent["attempts"] == len(receiver.requests) > 3
    assert {each.headers["webhook-id"] for each in receiver.requests} == {sent["id"]}
    assert len({each.body for each in receiver.requests}) == 1
    for request in receiver.requests:
        Webhook(webhook["secret"]).verify(request.body, request.headers)
    assert (await subscriber.ask("GET", webhook["id"]))["failing_since"] is None


async def test_a_message_is_given_up_after_ten_attempts_and_can_be_replayed(
    subscriber: Any, receiver: WebhookReceiver, database: Database
) -> None:
    receiver.status = 503
    webhook = await subscriber.subscribe(receiver.url)
    await subscriber.write()
    [failed] = await subscriber.until_status(webhook, "failed")
    assert (failed["attempts"], failed["response_status"], failed["error"]) == (10, 503, "rejected")
    assert failed["next_attempt_at"] is None
    read = await subscriber.ask("GET", webhook["id"])
    assert read["enabled"]  # it has not failed for three days
    assert read["failing_since"] is not None
    dead_letters = "SELECT 1 FROM jobs WHERE state = 'failed' AND account = :account"
    assert await rows(database, dead_letters, account=subscriber.account) == []
    receiver.status = 200
    await subscriber.ask("POST", f"{webhook['id']}/deliveries/{failed['id']}/replay")
    [sent] = await subscriber.until_status(webhook, "succeeded")
    assert sent["attempts"] == 11
    assert receiver.requests[-1].headers["webhook-id"] == failed["id"]


async def test_a_subscription_that_failed_for_three_days_is_disabled(
    subscriber: Any, receiver: WebhookReceiver
) -> None:
    receiver.status = 500
    webhook = await subscriber.subscribe(receiver.url)
    await subscriber.has_failed_for(hours=73)
    await subscriber.write()
    [given_up] = await subscriber.until_status(webhook, "failed")
    assert given_up["error"] == "disabled"
    read = await subscriber.ask("GET", webhook["id"])
    assert (read["enabled"], read["disabled_reason"]) == (False, "failing")
    assert read["disabled_at"] is not None
    await subscriber.write("not told")
    assert len(await subscriber.deliveries(webhook)) == 1
    assert len(receiver.requests) == 1

    receiver.status = 200
    read = await subscriber.ask("PATCH", webhook["id"], json={"enabled": True})
    assert (read["enabled"], read["disabled_reason"], read["failing_since"]) == (True, None, None)
    replay = {"since": given_up["created_at"]}
    assert await subscriber.ask("POST", f"{webhook['id']}/replay", json=replay) == {"deliveries": 1}
    await subscriber.until_status(webhook, "succeeded")


async def test_a_success_ends_a_time_of_failures(
    subscriber: Any, receiver: WebhookReceiver
) -> None:
    webhook = await subscriber.subscribe(receiver.url)
    await subscriber.has_failed_for(hours=73)
    await subscriber.write()
    await subscriber.until_status(webhook, "succeeded")
    receiver.status = 500
    await subscriber.write()
    await receiver.until(2)
    read = await subscriber.ask("GET", webhook["id"])
    assert read["enabled"]


async def test_gone_disables_at_once(subscriber: Any, receiver: WebhookReceiver) -> None:
    receiver.status = 410
    webhook = await subscriber.subscribe(receiver.url)
    await subscriber.write()
    await subscriber.until_status(webhook, "failed")
    read = await subscriber.ask("GET", webhook["id"])
    assert read["disabled_reason"] == "gone"
    assert len(receiver.requests) == 1


async def test_all_that_failed_since_a_time_is_replayed_no_more_than_some_at_once(
    subscriber: Any, receiver: WebhookReceiver
) -> None:
    webhook = await subscriber.subscribe(receiver.url)
    for number in range(12):
        await subscriber.write(str(number))
    sent = await subscriber.until_status(webhook, "succeeded", 12)
    await subscriber.execute(
        "UPDATE webhook_deliveries SET status = 'failed' WHERE subscription_id = :id",
        id=webhook["id"],
    )
    since = sorted(each["created_at"] for each in sent)[2]
    receiver.requests.clear()
    receiver.open.clear()
    answer = await subscriber.ask("POST", f"{webhook['id']}/replay", json={"since": since})
    assert answer == {"deliveries": 10}
    await receiver.until(delivery.MAX_IN_FLIGHT)
    receiver.open.set()
    await subscriber.until_status(webhook, "succeeded", 10)
    await receiver.until(10)
    assert receiver.most_at_once <= delivery.MAX_IN_FLIGHT
    again = {"since": since, "succeeded": True}
    answer = await subscriber.ask("POST", f"{webhook['id']}/replay", json=again)
    assert answer == {"deliveries": 10}


async def test_a_slow_subscriber_has_some_requests_at_once_and_holds_up_no_other(
    subscriber: Any, receiver: WebhookReceiver
) -> None:
    slow = await subscriber.subscribe(receiver.url)
    receiver.open.clear()
    for _ in range(20):
        await subscriber.write()
    await receiver.until(delivery.MAX_IN_FLIGHT)
    async with receiving() as quick:
        webhook = await subscriber.subscribe(quick.url, "note.created")
        await subscriber.write()
        await subscriber.until_status(webhook, "succeeded")
    assert len(receiver.requests) == delivery.MAX_IN_FLIGHT
    receiver.open.set()
    await subscriber.until_status(slow, "succeeded", 21)
    assert receiver.most_at_once == delivery.MAX_IN_FLIGHT


async def test_a_failing_subscriber_has_one_request_at_once(
    subscriber: Any, receiver: WebhookReceiver
) -> None:
    webhook = await subscriber.subscribe(receiver.url)
    await subscriber.has_failed_for(hours=1)
    receiver.status = 500
    for _ in range(5):
        await subscriber.write()
    await subscriber.until_status(webhook, "failed", 5)
    assert receiver.most_at_once == 1


async def test_a_request_has_a_time_limit(
    subscriber: Any, receiver: WebhookReceiver, app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender = app.state.webhook_sender
    quick = sender.settings.model_copy(update={"webhooks_timeout_seconds": 0.1})
    monkeypatch.setattr(sender, "settings", quick)
    receiver.open.clear()
    webhook = await subscriber.subscribe(receiver.url)
    await subscriber.write()
    [failed] = await subscriber.until_status(webhook, "failed")
    assert (failed["error"], failed["response_status"]) == ("timeout", None)


async def test_a_redirect_is_not_followed(subscriber: Any, receiver: WebhookReceiver) -> None:
    async with receiving() as elsewhere:
        receiver.status = 307
        receiver.headers["location"] = elsewhere.url
        webhook = await subscriber.subscribe(receiver.url)
        await subscriber.write()
        [failed] = await subscriber.until_status(webhook, "failed")
        assert (failed["error"], failed["response_status"]) == ("rejected", 307)
        assert elsewhere.requests == []


async def test_a_long_response_is_not_read(subscriber: Any, receiver: WebhookReceiver) -> None:
    receiver.status = 200
    receiver.headers["content-length"] = str(10**12)
    receiver.body = b"x" * 100_000
    webhook = await subscriber.subscribe(receiver.url)
    await subscriber.write()
    await subscriber.until_status(webhook, "succeeded")


async def test_cookies_of_a_response_are_not_sent_to_the_next(
    subscriber: Any, receiver: WebhookReceiver
) -> None:
    receiver.headers["set-cookie"] = "who=one"
    webhook = await subscriber.subscribe(receiver.url)
    for _ in range(2):
        await subscriber.write()
    await subscriber.until_status(webhook, "succeeded", 2)
    assert all("cookie" not in each.headers for each in receiver.requests)


async def test_nobody_who_listens_is_a_failure(subscriber: Any) -> None:
    async with receiving() as gone:
        pass
    webhook = await subscriber.subscribe(gone.url)
    await subscriber.write()
    [failed] = await subscriber.until_status(webhook, "failed")
    assert failed["error"] == "connect_error"


async def test_a_connection_that_ends_without_a_response_is_a_failure(subscriber: Any) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        webhook = await subscriber.subscribe(f"http://127.0.0.1:{port}/")
        await subscriber.write()
        [failed] = await subscriber.until_status(webhook, "failed")
    assert (failed["error"], failed["response_status"]) == ("broken_off", None)


async def test_a_worker_that_died_while_sending_leaves_nothing_behind(
    subscriber: Any, receiver: WebhookReceiver, database: Database
) -> None:
    """What it was sending counts as being sent for a while, and is then sent again."""
    webhook = await subscriber.subscribe(receiver.url)
    receiver.open.clear()
    await subscriber.write()
    await receiver.until(1)
    [job] = await rows(
        database, "SELECT id FROM jobs WHERE account = :account", account=subscriber.account
    )
    await subscriber.execute(
        "UPDATE jobs SET state = 'queued', run_at = now(), leased_until = NULL WHERE id = :id",
        id=job,
    )
    await receiver.until(2)
    receiver.open.set()
    [sent] = await subscriber.until_status(webhook, "succeeded")
    assert sent["attempts"] == 1  # of which one was recorded


async def test_what_was_left_without_a_job_is_sent_by_the_clean_up(
    subscriber: Any, receiver: WebhookReceiver, database: Database
) -> None:
    receiver.status = 500
    webhook = await subscriber.subscribe(receiver.url)
    await subscriber.write()
    await subscriber.until_status(webhook, "failed")
    await subscriber.execute(
        "UPDATE webhook_deliveries SET status = 'waiting', job_id = NULL "
        "WHERE subscription_id = :id",
        id=webhook["id"],
    )
    receiver.status = 200
    await clean(database)
    await subscriber.until_status(webhook, "succeeded")


async def test_old_deliveries_are_deleted(
    subscriber: Any, receiver: WebhookReceiver, database: Database
) -> None:
    webhook = await subscriber.subscribe(receiver.url)
    for _ in range(2):
        await subscriber.write()
    sent = await subscriber.until_status(webhook, "succeeded", 2)
    await subscriber.execute(
        "UPDATE webhook_deliveries SET finished_at = now() - interval '15 days' WHERE id = :id",
        id=sent[0]["id"],
    )
    await clean(database)

    async def so() -> bool:
        return [each["id"] for each in await subscriber.deliveries(webhook)] == [sent[1]["id"]]

    await until(so)


async def clean(database: Database) -> None:
    job = shop.jobs.by_name["clean_webhooks"]
    await database.run(lambda session: enqueue(session, job))


async def test_an_account_that_is_closed_is_forgotten(
    subscriber: Any, receiver: WebhookReceiver, database: Database
) -> None:
    webhook = await subscriber.subscribe(receiver.url)
    for _ in range(3):
        await subscriber.write()
    await subscriber.until_status(webhook, "succeeded", 3)
    account = subscriber.account

    async def forget(session: AsyncSession) -> bool:
        return await forget_webhooks(session, account, 2)

    assert [await database.run(forget) for _ in range(2)] == [False, True]
    statement = "SELECT 1 FROM webhook_subscriptions WHERE account = :account"
    assert await rows(database, statement, account=account) == []
    statement = "SELECT 1 FROM webhook_deliveries WHERE subscription_id = CAST(:id AS uuid)"
    assert await rows(database, statement, id=webhook["id"]) == []


async def test_a_subscription_that_is_deleted_while_it_is_sent_to_is_no_failure(
    subscriber: Any, receiver: WebhookReceiver, database: Database
) -> None:
    webhook = await subscriber.subscribe(receiver.url)
    receiver.open.clear()
    await subscriber.write()
    await receiver.until(1)
    answer = await subscriber.client.delete(
        f"/api/v1/shop/webhooks/{webhook['id']}", headers=subscriber.headers
    )
    assert answer.status_code == 204
    receiver.open.set()

    async def so() -> bool:
        states = "SELECT state FROM jobs WHERE account = :account"
        return await rows(database, states, account=subscriber.account) == ["succeeded"]

    await until(so)


async def test_many_changes_at_once_are_told_once_each(
    subscriber: Any, receiver: WebhookReceiver
) -> None:
    webhook = await subscriber.subscribe(receiver.url)
    await asyncio.gather(*(subscriber.write(str(number)) for number in range(30)))
    await receiver.until(30)

    async def done() -> bool:
        found = await subscriber.ask("GET", f"{webhook['id']}/deliveries?limit=100")
        return all(each["status"] == "succeeded" for each in found["items"])

    await until(done)
    assert sorted(int(each.message["data"]["text"]) for each in receiver.requests) == list(
        range(30)
    )
