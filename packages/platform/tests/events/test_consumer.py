"""The consumer applies each event once, loses none, and no failing event delays others."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any
from uuid import UUID

import pytest
from shop.orders import OrderChanged, OrderPaid
from shop.watching import rows, until
from sqlalchemy import text

from service_platform.database import Database
from service_platform.events import Consumer, Event, EventSettings, Handlers
from service_platform.events.cloudevents import encode_cloudevent, new_cloudevent
from service_platform.events.consumer import CRASH_DELIVERIES
from service_platform.events.consumer_group import ConsumerGroup
from service_platform.ids import new_id
from service_platform.resources import HealthCheckError
from service_testing.postgres import LocalPostgres
from service_testing.valkey import LocalValkey

STREAM = "events:{shop}"
ORDER = new_id()


async def send(redis: Any, *events: Event, first: int = 1, group: str | None = None) -> list[bytes]:
    """Put events into the stream as the relay does."""
    entries = []
    for sequence, event in enumerate(events, first):
        content = encode_cloudevent(new_cloudevent(event), source="shop", sequence=sequence)
        fields = {"event": content, **({"group": group} if group else {})}
        entries.append(await redis.xadd(STREAM, fields))
    return entries


def state(what: str, order_id: UUID | None = None) -> OrderChanged:
    return OrderChanged(order_id=order_id or new_id(), state=what)


class Watch:
    """What has become of events."""

    def __init__(self, database: Database, redis: Any) -> None:
        self.database = database
        self.redis = redis

    async def applied(self) -> list[str]:
        return await rows(self.database, "SELECT what FROM applied ORDER BY n")

    async def until_applied(self, *expected: str) -> None:
        async def so() -> bool:
            return sorted(await self.applied()) == sorted(expected)

        await until(so)

    async def pending(self) -> int:
        return int((await self.redis.xpending(STREAM, "office"))["pending"])

    async def until_nothing_pending(self) -> None:
        async def so() -> bool:
            return await self.pending() == 0

        await until(so)

    async def dead(self) -> list[dict[bytes, bytes]]:
        return [fields for _, fields in await self.redis.xrange(f"{STREAM}:dead:office")]

    async def until_dead(self, count: int) -> None:
        async def so() -> bool:
            return len(await self.dead()) == count

        await until(so)


@pytest.fixture
def watch(database: Database, redis: Any) -> Watch:
    return Watch(database, redis)


async def test_events_from_before_the_first_start_are_applied(
    redis: Any, consumer: Any, watch: Watch
) -> None:
    await send(redis, state("a"), state("b"))
    async with consumer():
        await watch.until_applied("a", "b")
        await watch.until_nothing_pending()


async def test_events_are_applied_in_their_order(redis: Any, consumer: Any, watch: Watch) -> None:
    names = [str(number) for number in range(30)]
    async with consumer(events_batch_size=7):
        await send(redis, *[state(name, ORDER) for name in names])
        await watch.until_applied(*names)
    assert await watch.applied() == names


async def test_two_replicas_apply_each_event_once(redis: Any, consumer: Any, watch: Watch) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(2):
            await stack.enter_async_context(consumer(events_batch_size=5))
        await send(redis, *[OrderPaid(order_id=new_id(), amount=n) for n in range(100)])
        await watch.until_applied(*[str(n) for n in range(100)])
        await watch.until_nothing_pending()
    assert len(await watch.applied()) == 100


async def test_events_without_a_handler_are_skipped(
    redis: Any, consumer: Any, watch: Watch
) -> None:
    class OrderPrinted(OrderChanged):
        type = "order.printed"

    async with consumer():
        await send(redis, OrderPrinted(order_id=ORDER, state="printed"), state("a"))
        await watch.until_applied("a")
        await watch.until_nothing_pending()
    assert await watch.dead() == []


async def test_events_for_another_group_are_skipped(
    redis: Any, consumer: Any, watch: Watch
) -> None:
    async with consumer():
        await send(redis, state("theirs"), group="press")
        await send(redis, state("ours"), group="office")
        await watch.until_applied("ours")
        await watch.until_nothing_pending()


async def test_a_failing_event_is_given_up_and_those_behind_it_proceed(
    redis: Any, consumer: Any, watch: Watch, recorder: Any
) -> None:
    recorder.broken = {"poison"}
    async with consumer():
        await send(redis, state("a"), state("poison"), state("b"), state("c"))
        await watch.until_applied("a", "b", "c")
        await watch.until_dead(1)
        await watch.until_nothing_pending()
    [letter] = await watch.dead()
    assert letter[b"tries"] == b"3"
    assert letter[b"reason"] == b"ValueError"
    assert b"poison" in letter[b"event"]


async def test_an_event_that_fails_for_a_while_is_applied(
    redis: Any, consumer: Any, watch: Watch, recorder: Any
) -> None:
    recorder.broken = {"unlucky"}
    async with consumer(events_attempts=100):
        await send(redis, state("unlucky"))

        async def tried_twice() -> bool:
            tries = await redis.hvals(f"{STREAM}:tries:office")
            return bool(tries) and int(tries[0]) >= 2

        await until(tried_twice)
        recorder.broken = set()
        await watch.until_applied("unlucky")
        await watch.until_nothing_pending()
    assert await redis.exists(f"{STREAM}:tries:office", f"{STREAM}:due:office") == 0


async def test_a_replayed_dead_letter_is_applied_after_the_fix(
    redis: Any, consumer: Any, watch: Watch, recorder: Any
) -> None:
    recorder.broken = {"poison"}
    async with consumer():
        await send(redis, state("poison"))
        await watch.until_dead(1)
        recorder.broken = set()
        letters = ConsumerGroup(redis, "shop", "office").dead_letters
        [letter] = await letters.read(10)
        await letters.replay(letter)
        await watch.until_applied("poison")
    assert await watch.dead() == []


async def test_a_replayed_dead_letter_does_not_undo_what_came_after_it(
    redis: Any, consumer: Any, watch: Watch, recorder: Any
) -> None:
    recorder.broken = {"sent"}
    async with consumer():
        await send(redis, state("sent", ORDER))
        await watch.until_dead(1)
        recorder.broken = set()
        await send(redis, state("closed", ORDER), first=2)
        await watch.until_applied("closed")
        letters = ConsumerGroup(redis, "shop", "office").dead_letters
        [letter] = await letters.read(10)
        await letters.replay(letter)

        async def done() -> bool:
            count = await rows(watch.database, "SELECT count(*) FROM inbox")
            return count == [2] and await watch.pending() == 0

        await until(done)
    assert await watch.applied() == ["closed"]


async def test_a_failing_event_is_done_with_when_a_newer_state_is_applied(
    redis: Any, consumer: Any, watch: Watch, recorder: Any
) -> None:
    recorder.broken = {"sent"}
    async with consumer(events_attempts=100):
        await send(redis, state("sent", ORDER), state("closed", ORDER))
        await watch.until_applied("closed")
        await watch.until_nothing_pending()
    assert await watch.dead() == []


@pytest.mark.parametrize("content", [b"", b"no event", b'{"specversion":"1.0"}', b"\xff"])
async def test_content_that_cannot_be_decoded_is_a_dead_letter(
    redis: Any, consumer: Any, watch: Watch, content: bytes
) -> None:
    async with consumer():
        await redis.xadd(STREAM, {"event": content})
        await send(redis, state("a"))
        await watch.until_applied("a")
        await watch.until_dead(1)
        await watch.until_nothing_pending()


async def test_pending_events_of_a_dead_consumer_are_claimed(
    redis: Any, consumer: Any, watch: Watch
) -> None:
    await send(redis, state("a"), state("b"))
    await redis.xgroup_create(STREAM, "office", id="0")
    await redis.xreadgroup("office", "killed", {STREAM: ">"}, count=2)
    async with consumer():
        await watch.until_applied("a", "b")
        await watch.until_nothing_pending()


async def test_pending_events_of_a_stopped_consumer_are_claimed_at_once(
    redis: Any, settings: EventSettings, database: Database, consumer: Any, watch: Watch
) -> None:
    """Not only after `EVENTS_CLAIM_SECONDS`, which would delay events at each rollout."""
    handlers = Handlers()

    @handlers.on(OrderChanged)
    async def hang(*_: object) -> None:
        started.set()
        await asyncio.sleep(3600)

    started = asyncio.Event()
    patient = settings.model_copy(update={"events_claim_seconds": 3600.0})
    stopping = Consumer(patient, database, stream="shop", group="office", handlers=handlers)
    await stopping.start()
    await send(redis, state("a"))
    await started.wait()
    await stopping.stop()
    async with consumer(events_claim_seconds=3600.0):
        await watch.until_applied("a")


async def test_a_consumer_that_has_finished_leaves_the_group(redis: Any, consumer: Any) -> None:
    async with consumer():

        async def joined() -> bool:
            return bool(await redis.exists(STREAM)) and bool(
                await redis.xinfo_consumers(STREAM, "office")
            )

        await until(joined)
    assert await redis.xinfo_consumers(STREAM, "office") == []


async def test_an_event_that_crashes_its_consumer_each_time_is_given_up(
    redis: Any, settings: EventSettings, consumer: Any, watch: Watch
) -> None:
    """And only that one: an event that was delivered together with it is applied."""
    entries = await send(redis, state("killer"), state("bystander"))
    await redis.xgroup_create(STREAM, "office", id="0")
    await redis.xreadgroup("office", "killed", {STREAM: ">"})
    deliveries = settings.events_attempts + CRASH_DELIVERIES + 1
    await redis.xclaim(
        STREAM, "office", "killed", 0, entries, idle=3_600_000, retrycount=deliveries
    )
    async with consumer():
        await watch.until_applied("bystander")
        await watch.until_dead(1)
        await watch.until_nothing_pending()
    [letter] = await watch.dead()
    assert b"killer" in letter[b"event"]


async def test_after_flushall_the_group_is_made_anew(
    redis: Any, consumer: Any, watch: Watch
) -> None:
    async with consumer():
        await send(redis, state("before"))
        await watch.until_applied("before")
        await redis.flushdb()
        await send(redis, state("after"))
        await watch.until_applied("before", "after")


async def test_events_relayed_again_after_flushall_are_not_applied_again(
    redis: Any, consumer: Any, watch: Watch
) -> None:
    async with consumer():
        await send(redis, OrderPaid(order_id=ORDER, amount=1))
        await watch.until_applied("1")
        [(_, fields)] = await redis.xrange(STREAM)
        await redis.flushdb()
        await redis.xadd(STREAM, fields)
        await send(redis, OrderPaid(order_id=ORDER, amount=2), first=2)
        await watch.until_applied("1", "2")


async def test_a_restarted_redis_is_found_again(
    settings: EventSettings, database: Database, recorder: Any, own_redis: LocalValkey
) -> None:
    changed = settings.model_copy(update={"redis_url": type(settings.redis_url)(own_redis.url)})
    consumer = Consumer(
        changed, database, stream="shop", group="office", handlers=recorder.handlers
    )
    client = consumer._group.client
    watch = Watch(database, client)
    await consumer.start()
    try:
        await send(client, state("before"))
        await watch.until_applied("before")
        own_redis.stop()

        async def ill() -> bool:
            try:
                await consumer.check()
            except HealthCheckError as error:
                return error.reason == "events_unavailable"
            return False

        await until(ill)
        own_redis.start()
        await send(client, state("after"))
        await watch.until_applied("before", "after")
        await consumer.check()
    finally:
        await consumer.stop()


async def test_no_event_is_given_up_while_the_database_is_away(
    redis: Any,
    settings: EventSettings,
    recorder: Any,
    own_postgres: LocalPostgres,
    database: Database,
) -> None:
    """However long it is away, events wait and none becomes a dead letter."""
    moved = settings.model_copy(
        update={"database_url": type(settings.database_url)(own_postgres.url)}
    )
    away = Database(moved, migrations="shop.migrations")
    async with away.engine.begin() as connection:
        for table in ("inbox", "inbox_subjects"):
            columns = {
                "inbox": "event_id uuid PRIMARY KEY, applied_at timestamptz DEFAULT now()",
                "inbox_subjects": "stream text, subject text, sequence bigint, "
                "PRIMARY KEY (stream, subject)",
            }[table]
            await connection.execute(text(f"CREATE TABLE {table} ({columns})"))
        await connection.execute(text("CREATE TABLE applied (n serial, subject text, what text)"))
    watch = Watch(away, redis)
    consumer = Consumer(
        moved.model_copy(update={"events_attempts": 1}),
        away,
        stream="shop",
        group="office",
        handlers=recorder.handlers,
    )
    await consumer.start()
    try:
        await send(redis, state("before"))
        await watch.until_applied("before")
        own_postgres.stop()
        await send(redis, *[state(str(number)) for number in range(5)])

        async def delivered() -> bool:
            return await watch.pending() > 0

        await until(delivered)
        await asyncio.sleep(1.0)  # several tries
        assert await watch.dead() == []
        own_postgres.start()
        await watch.until_applied("before", *map(str, range(5)))
    finally:
        await consumer.stop()
        await away.stop()
