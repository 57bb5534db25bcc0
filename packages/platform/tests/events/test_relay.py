"""From the outbox into the stream: everything, in order, whatever happens to Redis."""

from contextlib import AsyncExitStack
from typing import Any

import orjson
import pytest
from shop.orders import OrderChanged
from shop.watching import rows, until
from sqlalchemy import text

from service_platform.database import Database
from service_platform.events import EventSettings, Relay, outbox, publish
from service_platform.events.relay import DELETE_BATCH
from service_platform.ids import new_id
from service_platform.resources import HealthCheckError
from service_testing.valkey import LocalValkey

STREAM = "events:{shop}"


async def change(database: Database, *states: str, order_id: Any = None) -> None:
    """Publish changes of one order, each in a transaction of its own."""
    order = order_id or new_id()
    for state in states:
        async with database.session() as session:
            await publish(session, OrderChanged(order_id=order, state=state))
            await session.commit()


async def published(redis: Any) -> list[dict[str, Any]]:
    return [orjson.loads(fields[b"event"]) for _, fields in await redis.xrange(STREAM)]


async def states(redis: Any) -> list[str]:
    return [event["data"]["state"] for event in await published(redis)]


async def test_events_are_appended_in_their_order(
    database: Database, redis: Any, relay: Any
) -> None:
    await change(database, *map(str, range(25)))
    async with relay(events_batch_size=10):
        await until(lambda: waiting(database, 0))
    events = await published(redis)
    assert [event["data"]["state"] for event in events] == [str(n) for n in range(25)]
    assert [event["sequence"] for event in events] == sorted(event["sequence"] for event in events)
    assert {event["source"] for event in events} == {"shop"}


async def waiting(database: Database, count: int) -> bool:
    return [count] == await rows(database, "SELECT count(*) FROM outbox WHERE entry_ms IS NULL")


async def test_a_notification_wakes_the_relay(database: Database, redis: Any, relay: Any) -> None:
    async with relay(events_poll_seconds=60.0):
        await until(lambda: listening(database))
        await change(database, "sent")

        async def arrived() -> bool:
            return await states(redis) == ["sent"]

        await until(arrived)  # which gives up long before the relay would poll


async def listening(database: Database) -> bool:
    return bool(
        await rows(
            database,
            "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'LISTEN%' "
            "AND datname = current_database()",
        )
    )


async def test_behind_a_pooler_the_relay_looks_instead_of_listening(
    database: Database, redis: Any, relay: Any
) -> None:
    async with relay(database_pooler="transaction", events_poll_seconds=0.1):
        await change(database, "sent")

        async def arrived() -> bool:
            return await states(redis) == ["sent"]

        await until(arrived)
        assert not await listening(database)


async def test_without_notifications_the_relay_polls(
    database: Database, redis: Any, relay: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "NOTIFY_CHANNEL", "another")
    async with relay():
        await change(database, "sent")

        async def arrived() -> bool:
            return await states(redis) == ["sent"]

        await until(arrived)


async def test_several_relays_keep_the_order_of_each_subject(
    database: Database, redis: Any, relay: Any
) -> None:
    orders = [new_id() for _ in range(5)]
    async with AsyncExitStack() as stack:
        for _ in range(3):
            await stack.enter_async_context(relay(events_batch_size=3))
        for number in range(20):
            for each in orders:
                await change(database, str(number), order_id=each)
        await until(lambda: waiting(database, 0))
    events = await published(redis)
    for each in orders:
        own = [event["data"]["state"] for event in events if event["subject"] == str(each)]
        assert own == [str(number) for number in range(20)]


async def test_events_wait_while_redis_is_away(
    database: Database, settings: EventSettings, own_redis: LocalValkey
) -> None:
    own_redis.stop()
    away = settings.model_copy(update={"redis_url": type(settings.redis_url)(own_redis.url)})
    relay = Relay(away, database, stream="shop")
    await relay.start()
    try:
        await change(database, "sent", "paid")

        async def ill() -> bool:
            try:
                await relay.check()
            except HealthCheckError as error:
                return error.reason == "events_waiting"
            return False

        await until(ill)
        assert await waiting(database, 2)
        own_redis.start()
        await until(lambda: waiting(database, 0))
        assert await states(relay._stream.client) == ["sent", "paid"]
        await until(lambda: well(relay))
    finally:
        await relay.stop()


async def well(relay: Relay) -> bool:
    try:
        await relay.check()
    except HealthCheckError:
        return False
    return True


async def test_events_that_redis_loses_are_relayed_again(
    database: Database, redis: Any, relay: Any
) -> None:
    order = new_id()
    async with relay():
        await change(database, "sent", "paid", order_id=order)
        await until(lambda: waiting(database, 0))
        await redis.flushdb()

        async def complete() -> bool:
            return await states(redis) == ["sent", "paid"]

        await until(complete)
        await change(database, "closed", order_id=order)

        async def in_order() -> bool:
            return await states(redis) == ["sent", "paid", "closed"]

        await until(in_order)


async def test_only_events_that_redis_lost_are_relayed_again(
    database: Database, redis: Any, relay: Any
) -> None:
    """A server that comes back with a state of some moments ago has the older entries."""
    async with relay():
        await change(database, "sent")
        await until(lambda: waiting(database, 0))
        before = await redis.dump(STREAM)
        await change(database, "paid")
        await until(lambda: waiting(database, 0))
        await redis.restore(STREAM, 0, before, replace=True)

        async def complete() -> bool:
            return await states(redis) == ["sent", "paid"]

        await until(complete)


async def test_old_events_are_deleted_from_the_outbox(
    database: Database, redis: Any, relay: Any
) -> None:
    async with database.session() as session:
        for _ in range(3):
            await publish(session, OrderChanged(order_id=new_id(), state="old"))
        await session.execute(text("UPDATE outbox SET entry_ms = 1, entry_seq = id"))
        await session.execute(
            text(
                "INSERT INTO outbox (event, entry_ms, entry_seq) "
                "SELECT '{}', 1, n FROM generate_series(10, :count) AS n"
            ),
            {"count": DELETE_BATCH * 2},
        )
        await session.commit()
    await redis.xadd(STREAM, {"event": "newer"}, id="2-0")
    async with relay():

        async def clean() -> bool:
            return not await rows(database, "SELECT 1 FROM outbox")

        await until(clean)
