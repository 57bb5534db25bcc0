"""The producer's side of a stream: appending, loss of data, trimming."""

import time
from typing import Any

import pytest

from service_platform.events import EventSettings
from service_platform.events.stream import (
    STREAM_NAMES_KEY,
    EventStream,
    StreamDataLossError,
    connect,
    stream_names,
)
from service_platform.events.stream_ids import format_stream_id

KEY = "events:{shop}"


@pytest.fixture
def stream(redis: Any) -> EventStream:
    return EventStream(redis, "shop")


async def contents(redis: Any) -> list[str]:
    return [fields[b"event"].decode() for _, fields in await redis.xrange(KEY)]


async def test_events_are_appended_in_their_order(redis: Any, stream: EventStream) -> None:
    ids = await stream.append([(b"a", None), (b"b", "office")], newest_known=(0, 0))
    assert await redis.xrange(KEY) == [
        (format_stream_id(ids[0]).encode(), {b"event": b"a"}),
        (format_stream_id(ids[1]).encode(), {b"event": b"b", b"group": b"office"}),
    ]
    assert ids == sorted(ids)
    assert await stream.length() == 2


async def test_nothing_is_appended_to_a_stream_that_lost_entries(
    redis: Any, stream: EventStream
) -> None:
    [first] = await stream.append([(b"a", None)], newest_known=(0, 0))
    before = await redis.dump(KEY)
    [second] = await stream.append([(b"b", None)], newest_known=first)
    await redis.restore(KEY, 0, before, replace=True)
    with pytest.raises(StreamDataLossError) as loss:
        await stream.append([(b"c", None)], newest_known=second)
    assert loss.value.newest == first
    assert await contents(redis) == ["a"]
    await redis.flushdb()
    with pytest.raises(StreamDataLossError) as loss:
        await stream.append([], newest_known=second)
    assert loss.value.newest == (0, 0)


async def test_a_trimmed_stream_has_lost_nothing(redis: Any, stream: EventStream) -> None:
    [newest] = await stream.append([(b"a", None)], newest_known=(0, 0))
    await redis.xtrim(KEY, maxlen=0, approximate=False)
    await stream.append([(b"b", None)], newest_known=newest)
    assert await contents(redis) == ["b"]


async def test_registered_streams_are_listed(redis: Any, stream: EventStream) -> None:
    await stream.register()
    await EventStream(redis, "auth").register()
    assert await stream_names(redis) == ["auth", "shop"]
    assert await redis.smembers(STREAM_NAMES_KEY) == {b"auth", b"shop"}


async def test_a_stream_that_does_not_exist_has_no_groups(stream: EventStream) -> None:
    assert await stream.groups() == []
    assert await stream.trim(before_ms=0) == 0


async def test_a_blocking_client_waits_longer_for_an_answer(settings: EventSettings) -> None:
    usual, blocking = connect(settings), connect(settings, block=True)
    try:
        timeouts = [
            each.connection_pool.connection_kwargs["socket_timeout"] for each in (usual, blocking)
        ]
        assert timeouts == [2.0, 3.0]
    finally:
        await usual.aclose()
        await blocking.aclose()


async def test_trimming_keeps_what_any_group_has_not_applied(
    redis: Any, stream: EventStream
) -> None:
    for number in range(1, 11):
        await redis.xadd(KEY, {"event": str(number)}, id=f"{number}-0")
    future = round(time.time() * 1000) + 1_000_000

    async def kept(before_ms: int = future) -> list[str]:
        await stream.trim(before_ms=before_ms)
        return await contents(redis)

    everything = [str(number) for number in range(1, 11)]
    assert await kept() == everything, "nobody has read it"
    await redis.xgroup_create(KEY, "quick", id="0")
    await redis.xgroup_create(KEY, "slow", id="0")
    entries = (await redis.xreadgroup("quick", "a", {KEY: ">"}))[0][1]
    await redis.xack(KEY, "quick", *[entry for entry, _ in entries])
    assert await kept() == everything, "one group has not read it"
    await redis.xreadgroup("slow", "a", {KEY: ">"}, count=6)
    await redis.xack(KEY, "slow", "1-0", "2-0", "3-0", "5-0")
    assert await kept(3) == everything[2:], "younger ones are kept"
    assert await kept() == everything[3:], "one is pending"
    await redis.xack(KEY, "slow", "4-0", "6-0")
    assert await kept() == everything[6:]


@pytest.mark.parametrize("newest_known", [(5, 2), (6, 0)])
async def test_a_loss_is_noticed_by_milliseconds_and_by_number(
    redis: Any, stream: EventStream, newest_known: tuple[int, int]
) -> None:
    await redis.xadd(KEY, {"event": "a"}, id="5-1")
    with pytest.raises(StreamDataLossError) as loss:
        await stream.append([(b"b", None)], newest_known=newest_known)
    assert loss.value.newest == (5, 1)
    await stream.append([(b"b", None)], newest_known=(5, 1))
