"""Commands for operators."""

import asyncio
from typing import Any

import pytest
from shop.orders import OrderChanged
from shop.watching import until

from service_platform.events import commands
from service_platform.events.cloudevents import encode_cloudevent, new_cloudevent
from service_platform.ids import new_id

STREAM = "events:{shop}"
ORDER = new_id()


@pytest.fixture
async def stream(redis: Any, service_environment: dict[str, str]) -> Any:
    """Three entries, of which the office has one unfinished and one dead letter."""
    await redis.sadd("events:streams", "shop")
    await redis.xgroup_create(STREAM, "office", id="0", mkstream=True)
    event = new_cloudevent(OrderChanged(order_id=ORDER, state="a private matter"))
    content = encode_cloudevent(event, source="shop", sequence=1)
    for _ in range(3):
        await redis.xadd(STREAM, {"event": content})
    await redis.xreadgroup("office", "one", {STREAM: ">"}, count=1)
    await redis.xadd(
        f"{STREAM}:dead:office",
        {"event": content, "entry": "1-0", "tries": 5, "reason": "ValueError"},
    )
    return redis


async def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Run a command in a thread: it has an event loop of its own."""
    status = await asyncio.to_thread(commands.main, arguments)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


async def test_status_is_a_table_of_every_group(
    stream: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, _ = await run(capsys, "status")
    header, row = out.splitlines()
    assert status == 0
    assert header.split() == [
        "STREAM", "GROUP", "ENTRIES", "UNREAD", "PENDING", "LAG", "DEAD", "CONSUMERS",
    ]  # fmt: skip
    cells = row.split()
    assert [*cells[:5], *cells[-2:]] == ["shop", "office", "3", "2", "1", "1", "1"]


async def test_status_of_nothing_says_so(
    redis: Any, service_environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert await run(capsys, "status") == (0, "No service consumes any stream yet.\n", "")


async def test_dead_letters_are_listed_without_their_data(
    stream: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    _, out, _ = await run(capsys, "dead")
    assert "order.changed" in out
    assert str(ORDER) in out
    assert "ValueError" in out
    assert "a private matter" not in out


async def test_replay_gives_dead_letters_to_their_group_alone(
    stream: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await run(capsys, "replay", "office") == (0, "office: 1 replayed\n", "")
    assert await stream.xlen(f"{STREAM}:dead:office") == 0
    (_, last), *_ = await stream.xrevrange(STREAM, count=1)
    assert last[b"group"] == b"office"
    assert b"a private matter" in last[b"event"]


async def test_replay_of_an_unknown_service_says_so(
    stream: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, error = await run(capsys, "replay", "nobody")
    assert (status, out) == (1, "")
    assert error == "No service nobody consumes any stream; `status` lists those that do.\n"


async def test_forget_refuses_a_running_service(
    stream: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    status, _, error = await run(capsys, "forget", "office")
    assert status == 1
    assert "office is running" in error
    assert await stream.xinfo_groups(STREAM)


async def test_forget_deletes_the_group_of_a_service_that_is_gone(
    stream: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    await stream.xgroup_delconsumer(STREAM, "office", "one")
    status, _, _ = await run(capsys, "forget", "office")
    assert status == 0
    assert await stream.xinfo_groups(STREAM) == []
    assert await stream.exists(f"{STREAM}:dead:office") == 0


async def test_rebuild_without_the_producer_says_where_to_run_it(
    service_environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    status, _, error = await run(capsys, "rebuild", "office", "--from", "shop")
    assert status == 1
    assert "kubectl exec deploy/shop" in error


async def test_a_redis_outage_is_reported_in_one_sentence(
    service_environment: dict[str, str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    status, out, error = await run(capsys, "status")
    assert (status, out) == (1, "")
    assert error == "Redis cannot be reached; is REDIS_URL right and is it running?\n"


async def test_status_shows_a_running_consumer(
    redis: Any, consumer: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    async with consumer():

        async def seen() -> bool:
            _, out, _ = await run(capsys, "status")
            return "office" in out

        await until(seen)
