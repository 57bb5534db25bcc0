"""The spans of Redis commands: what they are called, and that no key and no value is in them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from packages.platform.tests.telemetry.conftest import Traced
from redis.exceptions import RedisError

from service_platform.redis_client import RedisClient
from service_platform.settings import PlatformSettings
from service_platform.telemetry.redis_spans import describe, server_attributes
from service_platform.telemetry.tracing import span
from service_testing.collector import Collector
from service_testing.valkey import LocalValkey

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("arguments", "name", "text"),
    [
        (("PING",), "PING", "PING"),
        (("get", SECRET), "GET", "GET ?"),
        (("SET", SECRET, b"x", "EX", 5), "SET", "SET ? ? ? ?"),
        ((b"GET", SECRET), "GET", "GET ?"),
        (("SET hunter2 hunter2",), "SET", "SET ? ?"),
        (("XGROUP CREATE", SECRET, "g"), "XGROUP CREATE", "XGROUP CREATE ? ?"),
        (("CLIENT", "SETNAME", SECRET), "CLIENT", "CLIENT ? ?"),
        (("CONFIG GET hunter2",), "CONFIG GET", "CONFIG GET ?"),
        (("MGET", *["k"] * 8), "MGET", "MGET ? ? ? ? ? ? ? ?"),
        (("MGET", *["k"] * 9), "MGET", "MGET ? ? ? ? ? ? ? ? …"),
    ],
)
def test_a_span_is_called_by_its_command(arguments: tuple[Any, ...], name: str, text: str) -> None:
    called, attributes = describe(arguments)
    assert called == name
    assert attributes == {
        "db.system.name": "redis",
        "db.operation.name": name,
        "db.query.text": text,
    }


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://cache/0", {"server.address": "cache", "server.port": 6379}),
        (
            f"rediss://me:{SECRET}@[::1]:7000/0",
            {"server.address": "::1", "server.port": 7000},
        ),
        (f"unix://:{SECRET}@/run/redis.sock?db=1", {"server.address": "/run/redis.sock"}),
    ],
)
def test_the_server_is_known_by_its_address(url: str, expected: dict[str, object]) -> None:
    assert server_attributes(url) == expected


def client_of(url: str) -> RedisClient:
    return RedisClient(PlatformSettings(_env_file=None, environment="test", redis_url=url))


@pytest.fixture
async def client(exporting: Collector, redis_url: str) -> AsyncIterator[Any]:
    resource = client_of(redis_url)
    await resource.start()
    yield resource.client
    await resource.stop()


async def test_each_command_is_a_span_without_keys_and_values(traced: Traced, client: Any) -> None:
    async def work() -> None:
        await client.set(SECRET, SECRET, ex=60)
        assert await client.get(SECRET) == SECRET.encode()
        assert await client.ping()

    spans = await traced(work())
    assert [each.name for each in spans] == ["SET", "GET", "PING"]
    for each in spans:
        assert each.kind == 3
        assert each.attributes["server.address"] == "127.0.0.1"
        assert each.attributes["server.port"] == client.connection_pool.connection_kwargs["port"]
        assert SECRET not in str(each)
        assert not each.is_error


@pytest.mark.parametrize(("transaction", "name"), [(True, "MULTI"), (False, "PIPELINE")])
async def test_a_pipeline_is_one_span(
    traced: Traced, client: Any, transaction: bool, name: str
) -> None:
    async def work() -> None:
        async with client.pipeline(transaction=transaction) as pipeline:
            for _ in range(25):
                pipeline.set(SECRET, SECRET)
            assert await pipeline.execute() == [True] * 25
            assert await pipeline.execute() == []  # of nothing

    (made,) = await traced(work())
    assert made.name == name
    assert made.attributes["db.operation.batch.size"] == 25
    assert made.attributes["db.query.text"] == "; ".join(["SET ? ?"] * 20)
    assert made.attributes["server.address"] == "127.0.0.1"
    assert SECRET not in str(made)


async def test_a_pipeline_that_watches_is_spans_too(traced: Traced, client: Any) -> None:
    async def work() -> None:
        async with client.pipeline() as pipeline:
            await pipeline.watch(SECRET)
            assert await pipeline.get(SECRET) is None
            pipeline.multi()
            pipeline.set(SECRET, 1)
            await pipeline.execute()

    spans = await traced(work())
    assert [each.name for each in spans] == ["WATCH", "GET", "MULTI"]
    assert SECRET not in str(spans)


async def test_an_error_is_told_by_its_kind(traced: Traced, client: Any) -> None:
    await client.set(SECRET, SECRET)

    async def work() -> None:
        with pytest.raises(RedisError):
            await client.incr(SECRET)
        async with client.pipeline(transaction=False) as pipeline:
            pipeline.lpush(SECRET, SECRET)
            with pytest.raises(RedisError):
                await pipeline.execute()

    for each in await traced(work()):
        assert each.is_error
        assert each.attributes["error.type"] == "ResponseError"
        assert each.events == []
        assert SECRET not in str(each)


async def test_a_server_that_is_away_is_told_by_the_kind_of_error(
    traced: Traced, own_redis: LocalValkey
) -> None:
    resource = client_of(own_redis.url)
    own_redis.kill()

    async def work() -> None:
        with pytest.raises(RedisError):
            await resource.client.get(SECRET)

    (failed,) = await traced(work())
    assert failed.attributes["error.type"] == "ConnectionError"
    await resource.stop()


async def test_outside_of_a_span_there_is_none(exporting: Collector, client: Any) -> None:
    await client.set(SECRET, SECRET)
    async with client.pipeline() as pipeline:
        await pipeline.get(SECRET).execute()
    with span("the end"):
        pass
    await asyncio.to_thread(exporting.wait_for, bool)
    assert [each.name for each in exporting.spans] == ["the end"]


async def test_a_service_that_does_not_export_has_the_plain_client(redis_url: str) -> None:
    resource = client_of(redis_url)
    assert type(resource.client).__name__ == "Redis"
    await resource.stop()
