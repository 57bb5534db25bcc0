"""The dead-letter queue of a consumer group."""

import time
from typing import Any

import pytest

from service_platform.events.dead_letters import DeadLetter, DeadLetterQueue

KEY = "events:{shop}"


@pytest.fixture
def queue(redis: Any) -> DeadLetterQueue:
    return DeadLetterQueue(redis, KEY, "office")


async def add(redis: Any, queue: DeadLetterQueue, content: bytes) -> None:
    pipeline = redis.pipeline()
    queue.add(pipeline, content=content, entry_id=b"1-0", tries=5, reason="ValueError")
    await pipeline.execute()


async def test_dead_letters_are_read_oldest_first(redis: Any, queue: DeadLetterQueue) -> None:
    for content in (b"a", b"b", b"c"):
        await add(redis, queue, content)
    assert await queue.length() == 3
    letters = await queue.read(2)
    assert [(each.content, each.tries, each.reason) for each in letters] == [
        (b"a", 5, "ValueError"),
        (b"b", 5, "ValueError"),
    ]


async def test_a_dead_letter_of_another_release_is_read(redis: Any, queue: DeadLetterQueue) -> None:
    entry_id = await redis.xadd("events:{shop}:dead:office", {"event": "a"})
    assert await queue.read(10) == [DeadLetter(entry_id, b"a", tries=0, reason="")]


async def test_a_replay_moves_it_back_for_its_group_alone(
    redis: Any, queue: DeadLetterQueue
) -> None:
    await add(redis, queue, b"a")
    [letter] = await queue.read(10)
    await queue.replay(letter)
    assert await queue.length() == 0
    [(_, fields)] = await redis.xrange(KEY)
    assert fields == {b"event": b"a", b"group": b"office"}


async def test_old_dead_letters_are_deleted(redis: Any, queue: DeadLetterQueue) -> None:
    await redis.xadd(queue.key, {"event": "old"}, id="5-0")
    await add(redis, queue, b"new")
    assert await queue.trim(before_ms=round(time.time() * 1000) - 60_000) == 1
    assert [each.content for each in await queue.read(10)] == [b"new"]
