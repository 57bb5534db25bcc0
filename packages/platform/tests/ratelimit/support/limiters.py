"""Limiters on a real Redis, and what they did there."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from prometheus_client import REGISTRY
from pydantic import SecretStr
from redis import Redis

from service_platform.ratelimit import Limiter, Policy, RateLimitCaller, RedisStore

ONE = (Policy.parse("5/minute", name="one", by="address"),)
TWO = (*ONE, Policy.parse("100/hour", name="two", by="account"))
SOMEBODY = RateLimitCaller("192.0.2.7")


@asynccontextmanager
async def running(limiter: Limiter) -> AsyncIterator[Limiter]:
    await limiter.start()
    try:
        yield limiter
    finally:
        await limiter.stop()


def on_redis(url: str, *, service: str = "users", **options: Any) -> Limiter:
    return Limiter(RedisStore(SecretStr(url), service=service, timeout=2.0), **options)


def metric(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def calls(redis: Redis, command: str) -> int:
    return int(redis.info("commandstats").get(f"cmdstat_{command}", {}).get("calls", 0))
