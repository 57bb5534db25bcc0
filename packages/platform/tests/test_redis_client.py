import asyncio
from typing import Any

import pytest
from redis.exceptions import RedisError

from service_platform.redis_client import RedisClient
from service_platform.resources import HealthCheckError
from service_platform.settings import PlatformSettings
from service_testing.valkey import LocalValkey


def settings(url: str, **others: object) -> PlatformSettings:
    return PlatformSettings(
        _env_file=None,
        environment="test",
        redis_url=url,
        redis_timeout_seconds=0.2,
        **others,  # type: ignore[arg-type]
    )


async def test_a_value_is_stored_and_read(redis_url: str) -> None:
    redis = RedisClient(settings(redis_url))
    await redis.start()
    await redis.client.set("key", b"\xff")
    assert await redis.client.get("key") == b"\xff"
    await redis.check()
    await redis.stop()


async def test_hiredis_reads_the_replies_and_the_protocol_is_resp3(redis_url: str) -> None:
    redis = RedisClient(settings(redis_url, project_name="shop"))
    info = await redis.client.client_info()
    pool: Any = redis.client.connection_pool
    connection = await pool.get_connection()
    assert "hiredis" in type(connection._parser).__module__
    await pool.release(connection)
    await redis.stop()
    assert info["resp"] == "3"
    assert info["name"] == "shop"


async def test_a_restarted_server_is_used_again_without_a_failed_command(
    own_redis: LocalValkey,
) -> None:
    redis = RedisClient(settings(own_redis.url))
    await asyncio.gather(*(redis.client.ping() for _ in range(8)))
    await asyncio.to_thread(own_redis.restart)
    for _ in range(20):
        await redis.client.ping()
    await redis.stop()


async def test_a_server_that_is_away_is_told_by_the_check(own_redis: LocalValkey) -> None:
    redis = RedisClient(settings(own_redis.url))
    await redis.check()
    own_redis.kill()
    with pytest.raises(HealthCheckError, match="redis_unavailable"):
        await redis.check()
    await redis.stop()


async def test_a_server_that_does_not_answer_is_given_up(own_redis: LocalValkey) -> None:
    redis = RedisClient(settings(own_redis.url))
    await redis.check()
    own_redis.pause()
    with pytest.raises((RedisError, OSError)):
        await redis.client.get("x")
    own_redis.resume()
    assert await redis.client.get("x") is None
    await redis.stop()


async def test_more_commands_than_connections_wait_their_turn(redis_url: str) -> None:
    redis = RedisClient(
        settings(redis_url, redis_max_connections=2).model_copy(
            update={"redis_timeout_seconds": 30.0}
        )
    )
    await asyncio.gather(*(redis.client.incr("n") for _ in range(200)))
    assert await redis.client.get("n") == b"200"
    connected = [entry for entry in await redis.client.client_list() if entry["name"] == "service"]
    assert len(connected) <= 2
    await redis.stop()


async def test_a_listener_waits_longer_than_a_command_may_take(redis_url: str) -> None:
    redis = RedisClient(settings(redis_url))
    listener = redis.listener(wait_seconds=1)
    assert await listener.xread({"stream": "$"}, block=400) in (None, [], {})
    await listener.aclose()
    await redis.stop()
