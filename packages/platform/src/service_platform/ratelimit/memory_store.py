"""Store rate limit counts in the memory of this process.

It serves a service without Redis, and every service while Redis is unavailable. It never waits.
"""

import time
from collections.abc import Callable
from typing import Final

from service_platform.ratelimit.caller import RateLimitCaller
from service_platform.ratelimit.effective_policy import EffectivePolicy
from service_platform.ratelimit.gcra import GcraLimiter
from service_platform.ratelimit.memory_limiter import (
    MAX_KEYS,
    MAX_UNITS,
    Capacity,
    MemoryLimiter,
)
from service_platform.ratelimit.sliding_window import SlidingWindowLimiter

_NANOSECONDS_PER_MICROSECOND: Final = 1_000


class MemoryStore:
    """Count hits in this process, in bounded memory.

    Args:
        max_keys: most keys, over all policies. Beyond it the least recently used are evicted, and
            have their whole quota again.
        max_units: most units, likewise.
        clock: monotonic clock in nanoseconds.
    """

    __slots__ = ("_clock", "_limiters", "capacity")

    def __init__(
        self,
        *,
        max_keys: int = MAX_KEYS,
        max_units: int = MAX_UNITS,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.capacity = Capacity(max_keys, max_units)
        self._clock = clock
        self._limiters: dict[str, MemoryLimiter] = {}

    def hit(
        self, policies: tuple[EffectivePolicy, ...], caller: RateLimitCaller, cost: int
    ) -> list[int]:
        """Check a request against all policies, and count it where all of them allow it.

        Returns:
            Two integers for each policy, as `hit.lua` returns them: the remaining units and the
            microseconds until the reset. Where the policy is exceeded, `-1 - remaining` and the
            microseconds until the request would be allowed.
        """
        now = self._clock()
        if len(policies) == 1:
            return self._hit_one(policies[0], caller, cost, now)
        waits = []
        refused = False
        for policy in policies:
            limiter = policy.memory_limiter or self._limiter_for(policy)
            key = caller.key_for(policy.by)
            wait = limiter.check(key, now, policy.quota, policy.cost * cost)
            waits.append(wait)
            if wait and not policy.shadow:
                refused = True
        result = []
        for policy, wait in zip(policies, waits, strict=True):
            limiter = policy.memory_limiter or self._limiter_for(policy)
            if wait:
                remaining, reset = -1 - limiter.peek(now, policy.quota)[0], wait
            elif refused:
                remaining, reset = limiter.peek(now, policy.quota)
            else:
                remaining, reset = limiter.consume(now, policy.quota, policy.cost * cost)
            result.append(remaining)
            result.append(-(-reset // _NANOSECONDS_PER_MICROSECOND))
        return result

    def _hit_one(
        self, policy: EffectivePolicy, caller: RateLimitCaller, cost: int, now: int
    ) -> list[int]:
        """Do the same for a single policy, by far the most common case, in half the time."""
        limiter = policy.memory_limiter or self._limiter_for(policy)
        units = policy.cost * cost
        wait = limiter.check(caller.key_for(policy.by), now, policy.quota, units)
        if wait:
            remaining = -1 - limiter.peek(now, policy.quota)[0]
        else:
            remaining, wait = limiter.consume(now, policy.quota, units)
        return [remaining, -(-wait // _NANOSECONDS_PER_MICROSECOND)]

    def _limiter_for(self, policy: EffectivePolicy) -> MemoryLimiter:
        """Return the limiter that counts a policy; roles with different quotas share it."""
        limiter = self._limiters.get(policy.counter_key)
        if limiter is None:
            window = policy.window * _NANOSECONDS_PER_MICROSECOND
            if policy.is_sliding_window:
                limiter = SlidingWindowLimiter(self.capacity, window)
            else:
                limiter = GcraLimiter(self.capacity, window, policy.quota)
            self._limiters[policy.counter_key] = limiter
        policy.memory_limiter = limiter
        return limiter
