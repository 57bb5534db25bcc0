"""Guessing gets slow, and nobody can be locked out by it."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis
from services.auth.tests.own_application import (
    app,
    client,
    database_url,
    redis_url,
    service_environment,
)

from auth.throttle import (
    ACCOUNT,
    ADDRESS,
    PAIR,
    WINDOW_SECONDS,
    Backoff,
    LoginThrottle,
    network_of,
)

__all__ = ["app", "client", "database_url", "redis_url", "service_environment"]

HOME, ATTACKER = "198.51.100.7", "203.0.113.9"
ADA = "ada@example.com"


class Time:
    def __init__(self) -> None:
        self.now = 1_000_000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture(params=["redis", "memory"])
async def throttle(
    request: pytest.FixtureRequest, time: Time, redis_url: str
) -> AsyncIterator[LoginThrottle]:
    client: Any = Redis.from_url(redis_url) if request.param == "redis" else None
    yield LoginThrottle(
        ["s" * 40], (lambda: client) if client else None, clock=time, sleep=time.sleep
    )
    if client is not None:
        await client.aclose()


async def fail(throttle: LoginThrottle, address: str, times: int = 1, email: str = ADA) -> None:
    for _ in range(times):
        await throttle.failed(throttle.attempt(email, address))


async def admitted(throttle: LoginThrottle, address: str, email: str = ADA) -> bool:
    return await throttle.admit(throttle.attempt(email, address))


def test_the_wait_doubles_up_to_its_bound() -> None:
    backoff = Backoff(free=2, first=1.0, longest=10.0)
    assert [backoff.seconds(count) for count in range(8)] == [0, 0, 0, 1, 2, 4, 8, 10]
    assert backoff.seconds(10**9) == 10


async def test_a_few_mistakes_cost_nothing(throttle: LoginThrottle) -> None:
    await fail(throttle, HOME, PAIR.free)
    assert await admitted(throttle, HOME)


async def test_then_the_wait_grows(throttle: LoginThrottle, time: Time) -> None:
    await fail(throttle, HOME, PAIR.free + 1)
    assert not await admitted(throttle, HOME)
    time.now += 1.0
    assert await admitted(throttle, HOME)
    await fail(throttle, HOME)
    time.now += 1.0
    assert not await admitted(throttle, HOME)
    time.now += 1.0
    assert await admitted(throttle, HOME)


async def test_the_wait_never_exceeds_its_bound_and_too_early_tries_do_not_prolong_it(
    throttle: LoginThrottle, time: Time
) -> None:
    await fail(throttle, HOME, 25)
    for _ in range(100):
        assert not await admitted(throttle, HOME)
    time.now += PAIR.longest
    assert await admitted(throttle, HOME)


async def test_a_success_forgets_the_pair(throttle: LoginThrottle) -> None:
    await fail(throttle, HOME, PAIR.free + 1)
    await throttle.succeeded(throttle.attempt(ADA, HOME))
    assert await admitted(throttle, HOME)


async def test_failures_are_forgotten_after_a_while(throttle: LoginThrottle, time: Time) -> None:
    await fail(throttle, HOME, 20)
    time.now += WINDOW_SECONDS + 1
    assert await admitted(throttle, HOME)


async def test_one_address_cannot_try_many_accounts(throttle: LoginThrottle) -> None:
    for number in range(ADDRESS.free + 1):
        await fail(throttle, ATTACKER, email=f"p{number}@example.com")
    assert not await admitted(throttle, ATTACKER, email="fresh@example.com")
    assert await admitted(throttle, HOME, email="fresh@example.com")


async def test_somebody_known_behind_the_same_address_is_let_in(throttle: LoginThrottle) -> None:
    await throttle.succeeded(throttle.attempt(ADA, ATTACKER))
    for number in range(ADDRESS.free + 10):
        await fail(throttle, ATTACKER, email=f"p{number}@example.com")
    assert await admitted(throttle, ATTACKER)


async def test_guessing_from_everywhere_delays_the_owner_but_never_locks_them_out(
    throttle: LoginThrottle, time: Time
) -> None:
    for number in range(500):
        await fail(throttle, f"203.0.{number // 250}.{number % 250}")
    assert await admitted(throttle, HOME)
    assert time.slept == [ACCOUNT.longest]
    await throttle.succeeded(throttle.attempt(ADA, HOME))
    assert await admitted(throttle, HOME)
    assert time.slept == [ACCOUNT.longest]


async def test_names_of_counters_do_not_tell_addresses(redis_url: str, time: Time) -> None:
    async with Redis.from_url(redis_url) as client:
        throttle = LoginThrottle(["s" * 40], lambda: client, clock=time, sleep=time.sleep)
        await fail(throttle, HOME, 2)
        await throttle.succeeded(throttle.attempt(ADA, HOME))
        names = b" ".join([name async for name in client.scan_iter("*")])
        assert names
        assert b"ada" not in names
        assert HOME.encode() not in names
        for name in names.split():
            assert await client.ttl(name) > 0


async def test_without_redis_this_process_counts_alone(time: Time) -> None:
    client = Redis.from_url("redis://127.0.0.1:1", retry=None)
    throttle = LoginThrottle(["s" * 40], lambda: client, clock=time, sleep=time.sleep)
    await fail(throttle, HOME, PAIR.free + 1)
    assert not await admitted(throttle, HOME)
    time.now += 1.0
    assert await admitted(throttle, HOME)
    await client.aclose()


async def test_the_memory_of_a_process_is_bounded(
    time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("auth.throttle.MAX_REMEMBERED", 30)
    throttle = LoginThrottle(["s" * 40], None, clock=time, sleep=time.sleep)
    for number in range(100):
        await fail(throttle, f"203.0.113.{number}")
        await throttle.succeeded(throttle.attempt(ADA, f"203.0.113.{number}"))
    assert len(throttle._local._failures) <= 30
    assert len(throttle._local._trusted) <= 30


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("", ""),
    ],
)
def test_an_ipv6_customer_is_one_network(address: str, network: str) -> None:
    assert network_of(address) == network
