"""A consumer group: reading, claiming, retrying and leaving."""

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from service_platform.events import EventSettings
from service_platform.events.consumer_group import ConsumerGroup
from service_platform.events.stream import connect

KEY = "events:{shop}"


@pytest.fixture
async def group(redis: Any) -> ConsumerGroup:
    made = ConsumerGroup(redis, "shop", "office", "one")
    await made.create()
    return made


@pytest.fixture
async def blocking(settings: EventSettings) -> AsyncIterator[Any]:
    client = connect(settings, block=True)
    yield client
    await client.aclose()


def another_consumer(redis: Any) -> ConsumerGroup:
    return ConsumerGroup(redis, "shop", "office", "two")


async def append(redis: Any, *contents: str) -> list[bytes]:
    return [await redis.xadd(KEY, {"event": content}) for content in contents]


async def pending(redis: Any) -> int:
    return int((await redis.xpending(KEY, "office"))["pending"])


async def test_a_new_group_reads_from_the_first_entry(
    redis: Any, group: ConsumerGroup, blocking: Any
) -> None:
    await append(redis, "a", "b", "c")
    await group.create()  # once more changes nothing
    assert [each.content for each in await group.read(blocking, 2)] == [b"a", b"b"]
    assert [each.content for each in await group.read(blocking, 2)] == [b"c"]
    assert await redis.smembers("events:streams") == {b"shop"}


async def test_an_entry_for_one_group_says_so(
    redis: Any, group: ConsumerGroup, blocking: Any
) -> None:
    await append(redis, "a")
    await redis.xadd(KEY, {"event": "b", "group": "office"})
    assert [each.group for each in await group.read(blocking, 10)] == [None, "office"]


async def test_idle_entries_are_claimed_with_their_delivery_count(
    redis: Any, group: ConsumerGroup, blocking: Any
) -> None:
    await append(redis, "a", "b")
    await group.read(blocking, 2)
    other = another_consumer(redis)
    assert await other.claim_idle(60, 10) == []
    claimed = await other.claim_idle(0, 10)
    assert [(each.content, each.delivery_count) for each in claimed] == [(b"a", 2), (b"b", 2)]


async def test_a_retry_is_claimed_when_it_is_due_by_one_consumer(
    redis: Any, group: ConsumerGroup, blocking: Any
) -> None:
    await append(redis, "a", "b")
    first, second = await group.read(blocking, 2)
    await group.schedule_retry(first.id, -0.001)
    await group.schedule_retry(second.id, 60)
    other = another_consumer(redis)
    assert [each.content for each in await other.claim_due_retries(10)] == [b"a"]
    assert await group.claim_due_retries(10) == []
    due = await redis.zscore("events:{shop}:due:office", second.id)
    assert due == pytest.approx((time.time() + 60) * 1000, abs=10_000)


async def test_an_acknowledged_entry_leaves_nothing_behind(
    redis: Any, group: ConsumerGroup, blocking: Any
) -> None:
    await append(redis, "a")
    [entry] = await group.read(blocking, 1)
    assert [await group.count_failure(entry.id) for _ in range(2)] == [1, 2]
    assert await redis.hget("events:{shop}:tries:office", entry.id) == b"2"
    await group.schedule_retry(entry.id, 60)
    await group.acknowledge([entry.id])
    await group.acknowledge([])
    assert await pending(redis) == 0
    assert await redis.exists("events:{shop}:tries:office", "events:{shop}:due:office") == 0


async def test_an_entry_is_moved_to_the_dead_letters(
    redis: Any, group: ConsumerGroup, blocking: Any
) -> None:
    await append(redis, "a")
    [entry] = await group.read(blocking, 1)
    await group.count_failure(entry.id)
    await group.move_to_dead_letters(entry, tries=3, reason="ValueError")
    assert await pending(redis) == 0
    assert await redis.exists("events:{shop}:tries:office") == 0
    [(_, fields)] = await redis.xrange("events:{shop}:dead:office")
    assert fields == {b"event": b"a", b"entry": entry.id, b"tries": b"3", b"reason": b"ValueError"}


async def test_a_consumer_that_leaves_is_removed(
    redis: Any, group: ConsumerGroup, blocking: Any
) -> None:
    await append(redis, "a")
    [entry] = await group.read(blocking, 1)
    await group.acknowledge([entry.id])
    await group.leave_group()
    assert await group.consumers() == []


async def test_entries_of_a_consumer_that_leaves_can_be_claimed_at_once(
    redis: Any, group: ConsumerGroup, blocking: Any
) -> None:
    await append(redis, "a")
    await group.read(blocking, 1)
    await group.leave_group()
    [claimed] = await another_consumer(redis).claim_idle(3_600, 10)
    assert claimed.content == b"a"


async def test_idle_consumers_are_removed_unless_entries_are_pending(
    redis: Any, group: ConsumerGroup, blocking: Any
) -> None:
    await append(redis, "a")
    await group.read(blocking, 1)
    await another_consumer(redis).read(blocking, 1)
    await group.remove_idle_consumers(60)
    assert len(await group.consumers()) == 2
    await group.remove_idle_consumers(-1)
    assert [each["name"] for each in await group.consumers()] == [b"one"]


async def test_lag_is_the_age_of_the_oldest_entry_not_applied(
    redis: Any, group: ConsumerGroup, blocking: Any
) -> None:
    async def assert_backlog(expected_pending: int, expected_lag: float) -> None:
        pending, lag = await group.pending_and_lag()
        assert pending == expected_pending
        assert lag == pytest.approx(expected_lag, abs=10)

    await assert_backlog(0, 0.0)
    now = round(time.time() * 1000)
    await redis.xadd(KEY, {"event": "a"}, id=f"{now - 60_000}-0")
    await redis.xadd(KEY, {"event": "b"}, id=f"{now - 20_000}-0")
    await assert_backlog(0, 60)
    first, _ = await group.read(blocking, 2)
    await assert_backlog(2, 60)
    await group.acknowledge([first.id])
    await assert_backlog(1, 20)


async def test_a_destroyed_group_leaves_nothing_behind(
    redis: Any, group: ConsumerGroup, blocking: Any
) -> None:
    await append(redis, "a", "b")
    first, second = await group.read(blocking, 2)
    await group.move_to_dead_letters(first, tries=1, reason="ValueError")
    await group.count_failure(second.id)
    await group.schedule_retry(second.id, 60)
    await group.destroy()
    assert await group.stream.groups() == []
    assert sorted(await redis.keys("events:*")) == [b"events:streams", b"events:{shop}"]
