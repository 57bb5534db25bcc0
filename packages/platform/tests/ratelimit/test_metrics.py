from limiters import ONE, SOMEBODY, metric, on_redis, running

from service_platform.ratelimit import Limiter, RateLimitCaller


async def test_decisions_are_counted_by_outcome_and_backend(redis_url: str) -> None:
    def seen() -> list[float]:
        return [
            metric("rate_limit_decisions_total", decision=decision, backend=backend)
            for decision, backend in (
                ("allowed", "redis"), ("refused", "redis"), ("refused", "refusal"),
                ("allowed", "memory"), ("allowed", "fallback"),
            )
        ]  # fmt: skip

    before = seen()
    async with running(on_redis(redis_url)) as limiter:
        for _ in range(8):
            await limiter.hit(SOMEBODY, ONE)
        await limiter.stop()
        await limiter.hit(SOMEBODY, ONE)  # what Redis refused stays refused without it
        await limiter.hit(RateLimitCaller("192.0.2.8"), ONE)
    Limiter().hit_nowait(SOMEBODY, ONE)
    assert [after - old for after, old in zip(seen(), before, strict=True)] == [5, 1, 3, 1, 1]
