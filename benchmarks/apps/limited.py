"""The same handler behind different rate limiters, each used as its own documentation shows.

`LIMITS_REDIS_URL` makes all of them count in Redis; without it they count in memory. Callers are
told apart by `X-Forwarded-For`, and told limit, remaining and reset. Nobody is ever refused: the
work of a check is measured.
"""

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, cast

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Response
from limits import parse
from limits.aio.storage import Storage
from limits.aio.strategies import MovingWindowRateLimiter, SlidingWindowCounterRateLimiter
from limits.storage import storage_from_string
from pydantic import SecretStr
from slowapi import Limiter as SlowLimiter
from slowapi.middleware import SlowAPIMiddleware
from starlette.requests import Request
from throttled.asyncio import MemoryStore as ThrottledMemory
from throttled.asyncio import RateLimiterType, Throttled, rate_limiter
from throttled.asyncio import RedisStore as ThrottledRedis

from benchmarks.apps.hello import Greeting, hello
from service_platform.app import create_app
from service_platform.ratelimit import Decision, Limiter, Policy, RateLimitCaller, RedisStore
from service_platform.redis_client import RedisClient
from service_platform.settings import PlatformSettings

PATH = "/api/v1/hello/5"
TEMPLATE = "/api/v1/hello/{number}"
PER_SECOND = 10_000
RATE = f"{PER_SECOND}/second"
REDIS_URL = os.environ.get("LIMITS_REDIS_URL", "")

Strategy = type[MovingWindowRateLimiter] | type[SlidingWindowCounterRateLimiter]


def caller(request: Request) -> str:
    """Who is counted; the probe of a starting server has no such header."""
    return request.headers.get("x-forwarded-for", "192.0.2.1")


def our_limiter(url: str) -> Limiter:
    """The platform's limiter by itself."""
    if not url:
        return Limiter()
    return Limiter(RedisStore(SecretStr(url), service="benchmark", timeout=1.0))


def limits_storage(url: str) -> Storage:
    """Storage of `limits`, asynchronous."""
    if not url:
        return cast("Storage", storage_from_string("async+memory://"))
    return cast("Storage", storage_from_string(f"async+{url}", implementation="redispy"))


def throttle(url: str) -> Throttled:
    """`throttled-py`, asynchronous, sliding window (an approximation)."""
    return Throttled(
        using=RateLimiterType.SLIDING_WINDOW.value,
        quota=rate_limiter.per_sec(PER_SECOND),
        store=ThrottledRedis(server=url) if url else ThrottledMemory(),
    )


def with_slowapi_fixed() -> FastAPI:
    """The `slowapi` decorator at its cheapest: fixed window, no headers."""
    limiter = SlowLimiter(key_func=caller, storage_uri=REDIS_URL or "memory://")
    app = FastAPI()
    app.state.limiter = limiter

    @app.get(TEMPLATE)
    @limiter.limit(RATE)
    async def limited(request: Request, number: int) -> Greeting:
        del request  # the decorator reads it
        return await hello(number)

    return app


def with_slowapi() -> FastAPI:
    """`slowapi` doing what ours does: exact window, headers, one limit for the whole service."""
    limiter = SlowLimiter(
        key_func=caller,
        storage_uri=REDIS_URL or "memory://",
        strategy="moving-window",
        headers_enabled=True,
        application_limits=[RATE],
    )
    app = FastAPI()
    app.state.limiter = limiter
    app.add_middleware(SlowAPIMiddleware)
    app.get(TEMPLATE)(hello)
    return app


def _with_limits(strategy: Strategy) -> FastAPI:
    limiter = strategy(limits_storage(REDIS_URL))
    rate = parse(RATE)

    async def check(request: Request, response: Response) -> None:
        who = caller(request)
        passed = await limiter.hit(rate, who)
        stats = await limiter.get_window_stats(rate, who)
        response.headers["X-RateLimit-Limit"] = str(PER_SECOND)
        response.headers["X-RateLimit-Remaining"] = str(stats.remaining)
        response.headers["X-RateLimit-Reset"] = str(int(stats.reset_time))
        if not passed:
            raise HTTPException(429)

    app = FastAPI()
    app.get(TEMPLATE, dependencies=[Depends(check)])(hello)
    return app


def with_limits_moving() -> FastAPI:
    """`limits`, asynchronous, exact moving window."""
    return _with_limits(MovingWindowRateLimiter)


def with_limits_sliding() -> FastAPI:
    """`limits`, asynchronous, sliding window counter (an approximation)."""
    return _with_limits(SlidingWindowCounterRateLimiter)


def with_throttled() -> FastAPI:
    """`throttled-py` in a dependency."""
    limiter = throttle(REDIS_URL)

    async def check(request: Request, response: Response) -> None:
        result = await limiter.limit(caller(request))
        response.headers["X-RateLimit-Limit"] = str(PER_SECOND)
        response.headers["X-RateLimit-Remaining"] = str(result.state.remaining)
        response.headers["X-RateLimit-Reset"] = str(int(time.time() + result.state.reset_after))
        if result.limited:
            raise HTTPException(429)

    app = FastAPI()
    app.get(TEMPLATE, dependencies=[Depends(check)])(hello)
    return app


def with_ours() -> FastAPI:
    """The platform's limiter in a dependency of a bare FastAPI application, headers included."""
    limiter = our_limiter(REDIS_URL)
    policies = (Policy.parse(RATE, by="address", name="default"),)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await limiter.start()
        yield
        await limiter.stop()

    async def check(request: Request, response: Response) -> None:
        answer = limiter.hit_nowait(RateLimitCaller(caller(request)), policies)
        decision = answer if isinstance(answer, Decision) else await answer
        response.headers.raw.extend(decision.headers)
        if not decision.allowed:
            raise HTTPException(429)

    app = FastAPI(lifespan=lifespan)
    app.get(TEMPLATE, dependencies=[Depends(check)])(hello)
    return app


def without() -> FastAPI:
    """No limiter: what the handler costs."""
    app = FastAPI()

    async def check(request: Request) -> str:
        return caller(request)

    @app.get(TEMPLATE)
    async def unlimited(number: int, _: Annotated[str, Depends(check)]) -> Greeting:
        return await hello(number)

    return app


def full_stack() -> FastAPI:
    """The whole platform: this limiter, and access log, metrics, headers and the rest."""
    router = APIRouter()
    router.get("/hello/{number}")(hello)
    settings = PlatformSettings(
        project_name="hello",
        redis_url=SecretStr(REDIS_URL or "redis://localhost:6379/0"),
        rate_limit_backend="redis" if REDIS_URL else "memory",
        rate_limit_requests=PER_SECOND,
        rate_limit_window_seconds=1,
        trusted_proxies=["127.0.0.1/32"],
    )
    return create_app(
        settings, routers=[router], resources=[RedisClient(settings)] if REDIS_URL else []
    )
