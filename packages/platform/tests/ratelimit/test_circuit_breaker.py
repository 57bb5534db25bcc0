"""Redis is killed, frozen and restarted while requests come in."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import ModuleType
from typing import Self

import pytest
import uvloop
from pydantic import SecretStr

from service_platform.ratelimit import Decision, Limiter, Policy, RateLimitCaller, RedisStore
from service_testing.valkey import LocalValkey

BACK_WITHIN_SECONDS = 2.0
PLENTY = (Policy.parse("10000/minute", name="plenty", by="address"),)


def limiter_on(url: str, *, replicas: int = 1, timeout: float = 0.1) -> Limiter:
    return Limiter(RedisStore(SecretStr(url), service="x", timeout=timeout), replicas=replicas)


class Load:
    """Requests without a break, from several tasks, and what was decided."""

    def __init__(self, limiter: Limiter) -> None:
        self.limiter = limiter
        self.backends: Counter[str] = Counter()
        self.longest = 0.0
        self._seen = asyncio.Event()
        self._wanted = ""

    async def run(self, address: str) -> None:
        loop = asyncio.get_running_loop()
        while True:
            before = loop.time()
            decision = await self.limiter.hit(RateLimitCaller(address), PLENTY)
            self.longest = max(self.longest, loop.time() - before)
            assert isinstance(decision, Decision)
            self.backends[decision.backend.name] += 1
            if decision.backend.name == self._wanted:
                self._seen.set()
            await asyncio.sleep(0.001)

    async def reaches(self, backend: str, seconds: float) -> None:
        """Wait for a decision of this backend from now on."""
        self._wanted = backend
        self._seen.clear()
        async with asyncio.timeout(seconds):
            await self._seen.wait()


@asynccontextmanager
async def load_on(limiter: Limiter) -> AsyncIterator[Load]:
    await limiter.start()
    load = Load(limiter)
    tasks = [asyncio.create_task(load.run(f"192.0.2.{number}")) for number in range(4)]
    try:
        yield load
        assert not any(task.done() for task in tasks)  # no check has failed
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await limiter.stop()


async def test_redis_killed_and_restarted_fails_no_check_and_is_used_again(
    own_redis: LocalValkey,
) -> None:
    async with load_on(limiter_on(own_redis.url)) as load:
        await load.reaches("redis", 5)
        await asyncio.to_thread(own_redis.kill)
        await load.reaches("fallback", 5)
        before = load.backends["fallback"]
        await asyncio.sleep(0.3)
        assert load.backends["fallback"] > before  # decisions continue
        await asyncio.to_thread(own_redis.start)
        await load.reaches("redis", BACK_WITHIN_SECONDS)
        await asyncio.sleep(0.1)
        await load.limiter.check()


async def test_a_frozen_redis_costs_each_request_the_timeout_at_most_and_then_nothing(
    own_redis: LocalValkey,
) -> None:
    async with load_on(limiter_on(own_redis.url, timeout=0.5)) as load:
        await load.reaches("redis", 5)
        own_redis.pause()
        try:
            await load.reaches("fallback", 5)
            load.longest = 0.0
            at = load.backends["fallback"]
            await asyncio.sleep(0.5)
            assert load.backends["fallback"] - at > 20
            assert load.longest < 0.5  # nobody waits for the budget any more
        finally:
            own_redis.resume()
        await load.reaches("redis", BACK_WITHIN_SECONDS)


async def test_a_redis_frozen_for_long_is_connected_to_anew(own_redis: LocalValkey) -> None:
    async with load_on(limiter_on(own_redis.url)) as load:
        await load.reaches("redis", 5)
        own_redis.pause()
        try:
            await asyncio.sleep(1.6)
        finally:
            own_redis.resume()
        await load.reaches("redis", BACK_WITHIN_SECONDS)


async def test_a_service_starts_without_redis_and_uses_it_once_it_is_there(
    own_redis: LocalValkey,
) -> None:
    own_redis.stop()
    async with load_on(limiter_on(own_redis.url)) as load:
        await load.reaches("fallback", 5)
        assert load.backends["redis"] == 0
        await asyncio.to_thread(own_redis.start)
        await load.reaches("redis", BACK_WITHIN_SECONDS)


async def test_a_connection_that_was_lost_silently_is_replaced(own_redis: LocalValkey) -> None:
    """As when a node of the network vanishes: nothing is closed, nothing ever comes."""
    async with LossyProxy(own_redis.port) as proxy, load_on(limiter_on(proxy.url)) as load:
        await load.reaches("redis", 5)
        proxy.lose_all_data()
        await load.reaches("fallback", 5)
        await load.reaches("redis", 5)


class LossyProxy:
    """A TCP proxy that can lose its connections silently."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._lost: asyncio.Event = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"redis://127.0.0.1:{port}/0"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def lose_all_data(self) -> None:
        self._lost.set()
        self._lost = asyncio.Event()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        lost = self._lost
        pairs = ((reader, back), (there, writer))
        self._tasks |= {asyncio.create_task(self._carry(*pair, lost)) for pair in pairs}

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, lost: asyncio.Event
    ) -> None:
        try:
            while data := await reader.read(65_536):
                if not lost.is_set():
                    writer.write(data)
        finally:
            writer.close()


async def test_under_constant_load_each_reply_has_the_whole_timeout(redis_url: str) -> None:
    """There is always a call under way when the one timer of the connection runs."""
    limiter = limiter_on(redis_url, timeout=0.4)
    await limiter.start()
    seen: Counter[str] = Counter()
    stop_at = asyncio.get_running_loop().time() + 1.3

    async def without_pause(address: str) -> None:
        while asyncio.get_running_loop().time() < stop_at:
            seen[(await limiter.hit(RateLimitCaller(address), PLENTY)).backend.name] += 1

    try:
        await asyncio.gather(*(without_pause(f"192.0.2.{number}") for number in range(8)))
    finally:
        await limiter.stop()
    assert set(seen) <= {"redis", "refusal"}


@pytest.mark.parametrize("loop", [asyncio, uvloop])
def test_a_blocked_event_loop_does_not_open_the_circuit(redis_url: str, loop: ModuleType) -> None:
    """Its timer is overdue when it goes on, but so is the answer in its socket."""

    async def run() -> None:
        limiter = limiter_on(redis_url, timeout=0.2)
        await limiter.start()
        for _ in range(2):
            waiting = asyncio.ensure_future(limiter.hit(RateLimitCaller("192.0.2.1"), PLENTY))
            await asyncio.sleep(0.001)
            waiting_too = asyncio.ensure_future(limiter.hit(RateLimitCaller("192.0.2.2"), PLENTY))
            for _ in range(2):
                await asyncio.sleep(0)
            time.sleep(0.4)  # noqa: ASYNC251 - a handler that computes
            assert (await waiting).backend.name == "redis"
            assert (await waiting_too).backend.name == "redis"
        await limiter.stop()

    loop.run(run())
