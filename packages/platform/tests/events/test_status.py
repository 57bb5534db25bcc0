"""The status of consumer groups."""

import time
from typing import Any

import pytest

from service_platform.events.consumer_group import ConsumerGroup
from service_platform.events.status import consumer_groups, read_status
from service_platform.events.stream import EventStream


async def test_the_status_of_a_group(redis: Any) -> None:
    group = ConsumerGroup(redis, "shop", "office")
    await group.create()
    age = round(time.time() * 1000) - 60_000
    for number in range(3):
        await redis.xadd("events:{shop}", {"event": str(number)}, id=f"{age}-{number}")
    await redis.xreadgroup("office", "one", {"events:{shop}": ">"}, count=1)
    await redis.xadd("events:{shop}:dead:office", {"event": "x"})
    [status] = await read_status(redis)
    assert (status.stream, status.group) == ("shop", "office")
    assert (status.entries, status.unread, status.pending, status.dead) == (3, 2, 1, 1)
    assert status.lag_seconds == pytest.approx(60, abs=10)
    assert status.consumers == 1


async def test_groups_of_one_name_are_found_in_every_stream(redis: Any) -> None:
    for stream, name in (("shop", "office"), ("auth", "office"), ("auth", "press")):
        await ConsumerGroup(redis, stream, name).create()
    await EventStream(redis, "without").register()
    found = [(each.stream.name, each.name) for each in await consumer_groups(redis, "office")]
    assert found == [("auth", "office"), ("shop", "office")]
    assert len(await consumer_groups(redis)) == 3
    assert await consumer_groups(redis, "nobody") == []
