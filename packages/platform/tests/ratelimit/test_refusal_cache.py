import asyncio

from limiters import ONE, SOMEBODY, calls, on_redis, running
from redis import Redis

from service_platform.ratelimit import Decision, Policy, RateLimitCaller


async def test_a_refused_caller_is_refused_from_memory_until_its_reset(
    redis_url: str, redis: Redis
) -> None:
    policy = (Policy.parse("3/second", name="short", by="address"),)
    async with running(on_redis(redis_url)) as limiter:
        await asyncio.gather(*(limiter.hit(SOMEBODY, policy) for _ in range(4)))
        redis.config_resetstat()
        refused = [limiter.hit_nowait(SOMEBODY, policy) for _ in range(50)]
        assert all(isinstance(each, Decision) and not each.allowed for each in refused)
        assert calls(redis, "evalsha") == 0
        last = refused[-1]
        assert isinstance(last, Decision)
        told = dict(last.headers)
        assert told[b"ratelimit"] == b'"short";r=0;t=1'
        assert told[b"retry-after"] == b"1"
        assert last.violated == ("short",)
        await asyncio.sleep(1.05)
        assert (await limiter.hit(SOMEBODY, policy)).allowed


async def test_a_cached_refusal_applies_to_its_cost_its_quota_and_its_policy_alone(
    redis_url: str,
) -> None:
    tiered = Policy.parse("3/minute", name="t", by="address", tiers={"admin": "9/minute"})
    async with running(on_redis(redis_url)) as limiter:
        assert not (await limiter.hit(SOMEBODY, (tiered,), cost=4)).allowed
        assert not (await limiter.hit(SOMEBODY, (tiered,), cost=5)).allowed
        assert (await limiter.hit(SOMEBODY, (tiered,), cost=3)).allowed
        assert not (await limiter.hit(SOMEBODY, (tiered,))).allowed
        admin = RateLimitCaller("192.0.2.7", roles=frozenset({"admin"}))
        assert (await limiter.hit(admin, (tiered,), cost=6)).allowed
        assert (await limiter.hit(SOMEBODY, ONE)).allowed


async def test_a_cached_refusal_does_not_apply_in_shadow_mode(
    redis_url: str,
) -> None:
    enforced = Policy.parse("1/minute", name="twin", by="address")
    shadow = Policy.parse("1/minute", name="twin", by="address", shadow=True)
    async with running(on_redis(redis_url)) as limiter:
        await asyncio.gather(*(limiter.hit(SOMEBODY, (enforced,)) for _ in range(2)))
        decision = await limiter.hit(SOMEBODY, (shadow,))
        assert (decision.allowed, decision.shadowed) == (True, ("twin",))
        assert decision.backend.name == "redis"


async def test_the_cache_does_not_grow_with_the_number_of_attackers(redis_url: str) -> None:
    policy = (Policy.parse("1/hour", name="one", by="key"),)
    async with running(on_redis(redis_url)) as limiter:
        for batch in range(60):
            attackers = [
                RateLimitCaller(key=f"{batch}-{number}" + "x" * 5_000) for number in range(500)
            ]
            await asyncio.gather(*(limiter.hit(each, policy, cost=2) for each in attackers))
        assert len(limiter._refusals) <= 16_384
