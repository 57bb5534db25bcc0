import asyncio
from typing import cast

import pytest
from limiters import ONE, SOMEBODY, TWO, calls, on_redis, running
from patience import eventually
from redis import Redis

from service_platform.ratelimit import Policy, RateLimitCaller
from service_platform.resources import HealthCheckError
from service_testing.valkey import LocalValkey


async def test_all_policies_of_all_requests_of_one_turn_are_one_call(
    redis_url: str, redis: Redis
) -> None:
    async with running(on_redis(redis_url)) as limiter:
        redis.config_resetstat()
        people = [RateLimitCaller(f"192.0.2.{number}") for number in range(40)]
        decisions = await asyncio.gather(*(limiter.hit(each, TWO) for each in people))
        assert all(decision.allowed for decision in decisions)
        assert calls(redis, "evalsha") == 1
        assert calls(redis, "eval") == 0
        assert calls(redis, "rpush") == 80


async def test_very_many_requests_of_one_turn_are_several_calls(
    redis_url: str, redis: Redis
) -> None:
    async with running(on_redis(redis_url)) as limiter:
        redis.config_resetstat()
        policy = (Policy.parse("300/minute", name="many", by="address"),)
        decisions = await asyncio.gather(*(limiter.hit(SOMEBODY, policy) for _ in range(400)))
        assert sum(decision.allowed for decision in decisions) == 300
        assert calls(redis, "evalsha") == 4


async def test_a_lost_script_is_loaded_again(redis_url: str, redis: Redis) -> None:
    async with running(on_redis(redis_url)) as limiter:
        assert (await limiter.hit(SOMEBODY, ONE)).allowed
        redis.script_flush()
        redis.config_resetstat()
        decisions = await asyncio.gather(*(limiter.hit(SOMEBODY, ONE) for _ in range(9)))
        assert sum(decision.allowed for decision in decisions) == 4  # nothing was counted twice
        assert {decision.backend.name for decision in decisions} == {"redis"}
        assert (await limiter.hit(RateLimitCaller("192.0.2.8"), ONE)).allowed
        assert (calls(redis, "evalsha"), calls(redis, "eval")) == (2, 1)


async def test_services_that_share_a_redis_count_apart(redis_url: str) -> None:
    async with (
        running(on_redis(redis_url, service="shop")) as shop,
        running(on_redis(redis_url, service="Büro {users}")) as users,
    ):
        for _ in range(5):
            assert (await shop.hit(SOMEBODY, ONE)).allowed
        assert not (await shop.hit(SOMEBODY, ONE)).allowed
        assert (await users.hit(SOMEBODY, ONE)).allowed


async def test_keys_have_the_caller_as_hash_tag_and_no_text_of_a_caller(
    redis_url: str, redis: Redis
) -> None:
    secret = "alice@example.com"
    by_key = Policy.parse("3/minute", name="logins", by="key")
    async with running(on_redis(redis_url)) as limiter:
        await limiter.hit(RateLimitCaller("2001:db8::1", key=secret), (*TWO, by_key))
    keys = sorted(
        key.decode() for key in cast("list[bytes]", redis.keys("rl:*")) if b"probe" not in key
    )
    assert keys[0].startswith("rl:{users:i:2001:db8::/64}:one:")
    assert keys[1].startswith("rl:{users:i:2001:db8::/64}:two:")
    assert keys[2].startswith("rl:{users:k:")
    assert secret not in "".join(keys)


async def test_the_handshake_sends_user_password_and_database(
    own_redis: LocalValkey,
) -> None:
    with Redis(port=own_redis.port) as admin:
        admin.execute_command(
            "ACL", "SETUSER", "limiter", "on", ">p@ss/word", "~rl:*", "+@all", "-@dangerous"
        )
        admin.execute_command("CONFIG", "SET", "requirepass", "another")
    url = f"redis://limiter:p%40ss%2Fword@127.0.0.1:{own_redis.port}/3"
    async with running(on_redis(url)) as limiter:
        assert (await limiter.hit(SOMEBODY, ONE)).backend.name == "redis"
    with Redis(port=own_redis.port, password="another", db=3) as admin:
        assert admin.keys("rl:{users:i:192.0.2.7}:*")
    async with running(on_redis(f"redis://:wrong@127.0.0.1:{own_redis.port}/0")) as limiter:
        assert (await limiter.hit(SOMEBODY, ONE)).backend.name == "fallback"
        with pytest.raises(HealthCheckError, match="redis_unavailable"):
            await limiter.check()


async def test_a_redis_that_cannot_write_opens_the_circuit(own_redis: LocalValkey) -> None:
    with Redis(port=own_redis.port) as admin:
        async with running(on_redis(own_redis.url)) as limiter:
            assert (await limiter.hit(SOMEBODY, ONE)).backend.name == "redis"
            admin.config_set("maxmemory", "1")
            assert (await limiter.hit(SOMEBODY, ONE)).backend.name == "fallback"
            with pytest.raises(HealthCheckError):
                await limiter.check()
            admin.config_set("maxmemory", "0")

            async def is_back() -> bool:
                return (await limiter.hit(SOMEBODY, ONE)).backend.name == "redis"

            await eventually(is_back, seconds=2)
