"""Rate limiter libraries against ours: the check alone, and one handler behind each over HTTP.

1,000 callers (or one), a quota nobody reaches, 16 checks or connections at a time. The limiter, or
the HTTP server it works in, has a core for itself; Redis and the HTTP client share the other.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from itertools import cycle

import uvloop
from limits import parse
from limits.aio.strategies import MovingWindowRateLimiter, SlidingWindowCounterRateLimiter

from benchmarks.apps.limited import PATH, RATE, Strategy, limits_storage, our_limiter, throttle
from benchmarks.comparison import Table, goal, interleaved, rows
from benchmarks.cores import pin, pinned
from benchmarks.load import Request, throughput
from benchmarks.servers import scratch, server
from service_platform.ratelimit import Decision, Policy, RateLimitCaller
from service_testing.valkey import LocalValkey

CALLERS = tuple(f"10.0.{number >> 8}.{number & 255}" for number in range(1_000))
AT_ONCE = 16

OURS = "ours"
SLOWAPI = "slowapi, moving window"
SLOWAPI_FIXED = "slowapi, fixed window, no headers"
MOVING = "limits, moving window"
SLIDING = "limits, sliding counter"
THROTTLED = "throttled-py, sliding window"
FULL = "full platform stack with ours"
WITHOUT = "no limiter"

Check = Callable[[str], Awaitable[bool]]
"""May this caller pass?"""

Make = Callable[[str], AbstractAsyncContextManager[Check]]
"""A limiter that counts in the Redis of this address, in memory where it is empty."""


def run(*, rounds: int = 5, seconds: float = 2.0) -> Sequence[Table]:
    """Tables of the check alone and over HTTP, in memory and in Redis."""
    with ExitStack() as stack:
        redis = LocalValkey(stack.enter_context(scratch()), durable=False)
        redis.start()
        stack.callback(redis.remove)
        if redis.pid is not None:
            pin(redis.pid, 1)
        return [
            _checks("in memory", "", rounds, seconds),
            _checks("in Redis", redis.url, rounds, seconds),
            _over_http("in memory", "", CALLERS, rounds, seconds),
            _over_http("in Redis", redis.url, CALLERS, rounds, seconds),
            _over_http("in Redis, one caller", redis.url, CALLERS[:1], rounds, seconds),
        ]


def _checks(where: str, url: str, rounds: int, seconds: float) -> Table:
    makers = {
        OURS: _ours,
        MOVING: _limits(MovingWindowRateLimiter),
        SLIDING: _limits(SlidingWindowCounterRateLimiter),
        THROTTLED: _throttled,
    }
    contestants = {name: _checks_per_second(maker, url, seconds) for name, maker in makers.items()}
    return Table(
        f"The check alone, {where}", "checks/s", rows(interleaved(contestants, rounds=rounds), OURS)
    )


def _over_http(where: str, url: str, callers: Sequence[str], rounds: int, seconds: float) -> Table:
    applications = {
        WITHOUT: "without",
        OURS: "with_ours",
        SLOWAPI: "with_slowapi",
        SLOWAPI_FIXED: "with_slowapi_fixed",
        MOVING: "with_limits_moving",
        SLIDING: "with_limits_sliding",
        THROTTLED: "with_throttled",
        FULL: "full_stack",
    }
    # uvicorn's own reading of forwarded headers is off: each application reads them itself.
    environment = {"LIMITS_REDIS_URL": url, "FORWARDED_ALLOW_IPS": "192.0.2.1"}
    with ExitStack() as stack:
        contestants = {}
        for name, factory in applications.items():
            app = f"benchmarks.apps.limited:{factory}"
            running = server(app, path=PATH, platform=name == FULL, environment=environment)
            contestants[name] = _requests_per_second(
                stack.enter_context(running) + PATH, callers, seconds
            )
        measured = rows(interleaved(contestants, rounds=rounds), WITHOUT)
    value = {row.name: row.value for row in measured}
    goals: tuple[tuple[str, bool], ...] = ()
    if url:
        goals = (
            goal("full stack / slowapi", value[FULL] / value[SLOWAPI], 3.5),
            goal("full stack / limits' moving window", value[FULL] / value[MOVING], 2.5),
        )
    return Table(f"The same handler over HTTP, {where}", "requests/s", measured, goals)


def _requests_per_second(url: str, callers: Sequence[str], seconds: float) -> Callable[[], float]:
    requests = [Request(url, headers=(("X-Forwarded-For", caller),)) for caller in callers]
    return throughput(requests, connections=AT_ONCE, seconds=seconds)


@asynccontextmanager
async def _ours(url: str) -> AsyncIterator[Check]:
    limiter = our_limiter(url)
    policies = (Policy.parse(RATE, by="address", name="default"),)
    await limiter.start()

    async def check(caller: str) -> bool:
        answer = limiter.hit_nowait(RateLimitCaller(caller), policies)
        decision = answer if isinstance(answer, Decision) else await answer
        return decision.allowed

    yield check
    await limiter.stop()


def _limits(strategy: Strategy) -> Make:
    @asynccontextmanager
    async def make(url: str) -> AsyncIterator[Check]:
        limiter = strategy(limits_storage(url))
        rate = parse(RATE)

        async def check(caller: str) -> bool:
            return await limiter.hit(rate, caller)

        yield check

    return make


@asynccontextmanager
async def _throttled(url: str) -> AsyncIterator[Check]:
    limiter = throttle(url)

    async def check(caller: str) -> bool:
        return not (await limiter.limit(caller)).limited

    yield check


def _checks_per_second(make: Make, url: str, seconds: float) -> Callable[[], float]:
    async def measured() -> float:
        done = 0
        callers = cycle(CALLERS)
        async with make(url) as check:
            started = time.perf_counter()
            until = started + seconds

            async def one_after_the_other() -> None:
                nonlocal done
                while time.perf_counter() < until:
                    if not await check(next(callers)):
                        raise RuntimeError("A check was refused; the quota should be out of reach.")
                    done += 1
                    if not done % 64:
                        await asyncio.sleep(0)  # checks in memory never give way by themselves

            await asyncio.gather(*(one_after_the_other() for _ in range(AT_ONCE)))
            return done / (time.perf_counter() - started)

    def once() -> float:
        with pinned(0):
            return uvloop.run(measured())

    return once
