"""Limit requests: check them against their policies and count those that are allowed.

The limiter decides at once where it counts in its own memory, where Redis is unavailable, and where
the caller is known to be over a limit. Otherwise it asks Redis, once for each request, whatever the
number of policies.
"""

import asyncio
from typing import Self, cast

from service_platform.ratelimit.caller import RateLimitCaller
from service_platform.ratelimit.compiled_policies import CompiledPolicies, PolicyCompiler
from service_platform.ratelimit.decision import (
    FALLBACK,
    MEMORY,
    REDIS,
    REFUSAL_CACHE,
    Decision,
)
from service_platform.ratelimit.effective_policy import MICROSECONDS_PER_SECOND
from service_platform.ratelimit.memory_store import MemoryStore
from service_platform.ratelimit.pending_hit import HitResult, PendingHit
from service_platform.ratelimit.policy import Policy
from service_platform.ratelimit.redis_store import RedisStore
from service_platform.ratelimit.refusal_cache import Refusal, RefusalCache
from service_platform.resources import HealthCheckError
from service_platform.settings import PlatformSettings


class Limiter:
    """Limit the requests of a service (a resource of the application).

    Args:
        redis: the shared counts; without it this process counts alone.
        memory: the counts of this process, also the fallback while Redis is unavailable.
        replicas: processes that share the limits while Redis is unavailable.
        shadow: decide and count, never refuse.
    """

    name = "limiter"
    critical = False

    def __init__(
        self,
        redis: RedisStore | None = None,
        *,
        memory: MemoryStore | None = None,
        replicas: int = 1,
        shadow: bool = False,
    ) -> None:
        self._redis = redis
        self._memory = memory or MemoryStore()
        self._refusals = RefusalCache()
        self._compiler = PolicyCompiler(replicas=replicas, shadow=shadow)
        self._loop: asyncio.AbstractEventLoop | None = None

    @classmethod
    def from_settings(cls, settings: PlatformSettings, redis: object | None = None) -> Self:
        """Make the limiter that the settings of a service describe.

        Args:
            settings: `RATE_LIMIT_*` and `REDIS_URL`.
            redis: the Redis resource of the service; a service without one counts in memory. The
                limiter uses a connection of its own, with another time-out.
        """
        store = None
        if redis is not None and settings.rate_limit_backend == "redis":
            store = RedisStore(
                settings.redis_url,
                service=settings.project_name,
                timeout=settings.rate_limit_timeout_seconds,
            )
        return cls(store, replicas=settings.rate_limit_replicas, shadow=settings.rate_limit_shadow)

    async def start(self) -> None:
        """Connect to Redis, if it is used. It may be unavailable."""
        if self._redis is not None:
            self._loop = asyncio.get_running_loop()
            await self._redis.start()

    async def stop(self) -> None:
        """Close the connections."""
        if self._redis is not None:
            await self._redis.stop()

    async def check(self) -> None:
        """Check the health: whether the shared counts are in use.

        Raises:
            HealthCheckError: `redis_unavailable`.
        """
        if self._redis is not None and not self._redis.is_available:
            raise HealthCheckError("redis_unavailable")

    async def hit(
        self, caller: RateLimitCaller, policies: tuple[Policy, ...], cost: int = 1
    ) -> Decision:
        """Check a request against its policies, and count it where all of them allow it.

        Args:
            caller: whose quotas are used.
            policies: each with a name of its own.
            cost: multiplies the cost of each policy.

        Returns:
            Whether the request is allowed, and the header fields for its response.
        """
        decision = self.hit_nowait(caller, policies, cost)
        return decision if isinstance(decision, Decision) else await decision

    def hit_nowait(
        self, caller: RateLimitCaller, policies: tuple[Policy, ...], cost: int = 1
    ) -> Decision | asyncio.Future[Decision]:
        """Do the same as `hit` without a coroutine, which costs time where nothing is awaited.

        Returns:
            The decision where it is made at once, else a future of it, which never fails.
        """
        compiled = self._compiler.compile(policies, caller.roles)
        redis = self._redis
        if redis is None or not policies:
            result = self._memory.hit(compiled.policies, caller, cost)
            return Decision(compiled, result, MEMORY)
        if self._loop is None:  # not started
            return self._hit_fallback(compiled, caller, cost)
        keys = redis.keys(compiled.policies, caller)
        now = self._loop.time()
        if self._refusals:
            refused = self._cached_refusal(compiled, keys, cost, now)
            if refused is not None:
                return refused
        if not redis.is_partly_available:
            return self._hit_fallback(compiled, caller, cost)
        return self._hit_redis(compiled, keys, caller, cost, now)

    def _cached_refusal(
        self, compiled: CompiledPolicies, keys: tuple[str, ...], cost: int, now: float
    ) -> Decision | None:
        """Refuse a request for which the refusal of an earlier one still applies."""
        for position, (policy, key) in enumerate(zip(compiled.policies, keys, strict=True)):
            refusal = None if policy.shadow else self._refusals.get(key, policy, cost, now)
            if refusal is not None:
                retry_after = int((refusal.resets_at - now) * MICROSECONDS_PER_SECOND) + 1
                result = [-1 - refusal.remaining, retry_after]
                return Decision(compiled.only(position), result, REFUSAL_CACHE)
        return None

    def _hit_fallback(
        self, compiled: CompiledPolicies, caller: RateLimitCaller, cost: int
    ) -> Decision:
        """Decide by the counts of this process, at its share of the limits."""
        result = self._memory.hit(compiled.fallback, caller, cost)
        return Decision(compiled, result, FALLBACK)

    def _hit_redis(
        self,
        compiled: CompiledPolicies,
        keys: tuple[str, ...],
        caller: RateLimitCaller,
        cost: int,
        now: float,
    ) -> asyncio.Future[Decision]:
        redis = cast("RedisStore", self._redis)
        loop = cast("asyncio.AbstractEventLoop", self._loop)
        decided: asyncio.Future[Decision] = loop.create_future()

        def resolve(hit: PendingHit, result: HitResult | None) -> None:
            if decided.done():  # the request was cancelled while it waited
                return
            if result is None:
                decided.set_result(self._hit_fallback(compiled, caller, cost))
                return
            decision = Decision(compiled, result, REDIS)
            if not decision.allowed and not hit.is_cross_slot:
                self._cache_refusals(compiled, hit, result, now)
            decided.set_result(decision)

        redis.submit(PendingHit(compiled.policies, keys, cost, resolve))
        return decided

    def _cache_refusals(
        self, compiled: CompiledPolicies, hit: PendingHit, result: HitResult, now: float
    ) -> None:
        expires_at = now + cast("RedisStore", self._redis).refusal_ttl
        for position in compiled.enforced:
            remaining, retry_after = result[2 * position], result[2 * position + 1]
            if remaining < 0:
                policy = compiled.policies[position]
                resets_at = now + retry_after / MICROSECONDS_PER_SECOND
                cost = policy.cost * hit.cost
                refusal = Refusal(resets_at, policy.quota, cost, -1 - remaining, expires_at)
                self._refusals.add(hit.keys[position], refusal)
