import asyncio

from limiters import ONE, SOMEBODY, TWO, metric, on_redis, running
from pydantic import SecretStr

from service_platform.ratelimit import Decision, Limiter, Policy, RateLimitCaller
from service_platform.resources import Resource
from service_platform.settings import PlatformSettings
from service_testing.ports import free_port


async def test_the_limiter_is_a_resource() -> None:
    assert isinstance(Limiter(), Resource)


async def test_a_limiter_in_memory_decides_at_once() -> None:
    async with running(Limiter()) as limiter:
        for expected in [True] * 5 + [False]:
            decision = limiter.hit_nowait(SOMEBODY, ONE)
            assert isinstance(decision, Decision)
            assert decision.allowed is expected
        await limiter.check()


async def test_requests_of_one_caller_in_one_turn_are_decided_one_after_the_other(
    redis_url: str,
) -> None:
    async with running(on_redis(redis_url)) as limiter:
        decisions = await asyncio.gather(*(limiter.hit(SOMEBODY, TWO) for _ in range(9)))
        assert [decision.allowed for decision in decisions] == [True] * 5 + [False] * 4
        assert (await limiter.hit(RateLimitCaller("192.0.2.8"), TWO)).allowed


async def test_shadow_mode_decides_and_counts_and_never_refuses(redis_url: str) -> None:
    before = metric("rate_limit_violations_total", policy="one", mode="shadow")
    async with running(on_redis(redis_url, shadow=True)) as limiter:
        decisions = await asyncio.gather(*(limiter.hit(SOMEBODY, TWO) for _ in range(8)))
        assert all(decision.allowed for decision in decisions)
        assert [decision.shadowed for decision in decisions[-2:]] == [("one",), ("one",)]
        assert decisions[-1].headers == []
    assert metric("rate_limit_violations_total", policy="one", mode="shadow") - before == 3


async def test_a_cancelled_request_disturbs_no_other(redis_url: str) -> None:
    async with running(on_redis(redis_url)) as limiter:
        tasks = [asyncio.create_task(limiter.hit(SOMEBODY, TWO)) for _ in range(4)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(done[1], asyncio.CancelledError)
        assert all(isinstance(each, Decision) and each.allowed for each in (done[0], *done[2:]))


async def test_settings_choose_the_backend(redis_url: str) -> None:
    settings = PlatformSettings(redis_url=SecretStr(redis_url))
    async with running(Limiter.from_settings(settings, redis=object())) as limiter:
        assert (await limiter.hit(SOMEBODY, ONE)).backend.name == "redis"
    away = PlatformSettings(
        redis_url=SecretStr(f"redis://127.0.0.1:{free_port()}/0"), rate_limit_replicas=2
    )
    async with running(Limiter.from_settings(away, redis=object())) as limiter:
        decisions = [await limiter.hit(SOMEBODY, ONE) for _ in range(3)]
        assert [decision.allowed for decision in decisions] == [True, True, False]
    in_memory = PlatformSettings(redis_url=SecretStr(redis_url), rate_limit_backend="memory")
    for limiter in (
        Limiter.from_settings(settings, redis=None),
        Limiter.from_settings(in_memory, redis=object()),
    ):
        assert (await limiter.hit(SOMEBODY, ONE)).backend.name == "memory"


def test_a_limiter_can_be_stopped_and_started_again_in_another_loop(redis_url: str) -> None:
    limiter = on_redis(redis_url)

    async def some_requests() -> set[str]:
        async with running(limiter):
            return {(await limiter.hit(SOMEBODY, TWO)).backend.name for _ in range(2)}

    assert asyncio.run(some_requests()) == {"redis"}
    assert asyncio.run(some_requests()) == {"redis"}


async def test_without_policies_every_request_is_allowed(redis_url: str) -> None:
    async with running(on_redis(redis_url)) as limiter:
        assert (await limiter.hit(SOMEBODY, ())).allowed


async def test_while_redis_is_unavailable_each_replica_allows_its_part() -> None:
    async with running(on_redis(f"redis://127.0.0.1:{free_port()}/0", replicas=4)) as limiter:
        policies = (
            Policy.parse("20/minute", name="api", by="address"),
            Policy.parse("10/minute", name="login", by="address", fallback="2/minute"),
        )
        api = [await limiter.hit(RateLimitCaller("192.0.2.1"), policies[:1]) for _ in range(8)]
        login = [await limiter.hit(RateLimitCaller("192.0.2.2"), policies) for _ in range(4)]
        assert [decision.allowed for decision in api] == [True] * 5 + [False] * 3
        assert [decision.allowed for decision in login] == [True] * 2 + [False] * 2
        assert login[-1].violated == ("login",)
        told = dict(api[-1].headers)
        assert set(told) == {b"ratelimit-policy", b"retry-after"}  # the true count is unknown
        assert 0 < int(told[b"retry-after"]) <= 60
