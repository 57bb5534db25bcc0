"""Cache refusals: a key over its limit is denied from memory until its reset, without Redis.

Used units only come back when they expire. So what Redis has refused stays refused until the reset
that it reported, whatever other processes do. The reset is counted from before the call was sent,
so the cache never refuses a request that Redis would have allowed.
"""

import math
from typing import Final

from service_platform.ratelimit.effective_policy import EffectivePolicy

MAX_KEYS: Final = 16_384
"""Most keys in the cache of a process. Beyond it the oldest are asked of Redis again."""


class Refusal:
    """Describe one refusal.

    Attributes:
        resets_at: time of the reset, by the clock of the event loop.
        expires_at: time at which the cache entry ends, at the latest that of the reset.
        quota: that was exhausted; another quota (tiers) has to be asked of Redis.
        cost: units that were refused; fewer may be allowed.
        remaining: units that were left.
    """

    __slots__ = ("cost", "expires_at", "quota", "remaining", "resets_at")

    def __init__(
        self,
        resets_at: float,
        quota: int,
        cost: int,
        remaining: int,
        expires_at: float = math.inf,
    ) -> None:
        self.resets_at = resets_at
        self.expires_at = min(resets_at, expires_at)
        self.quota = quota
        self.cost = cost
        self.remaining = remaining


class RefusalCache:
    """Cache the refusals of one process, in two generations of bounded size.

    Args:
        max_keys: most entries.
    """

    __slots__ = ("_generation_size", "_newer", "_older")

    def __init__(self, max_keys: int = MAX_KEYS) -> None:
        self._generation_size = max_keys // 2
        self._newer: dict[str, Refusal] = {}
        self._older: dict[str, Refusal] = {}

    def __len__(self) -> int:
        return len(self._newer) + len(self._older)

    def add(self, key: str, refusal: Refusal) -> None:
        """Cache a refusal; when the newer generation is full, the older one is dropped."""
        if len(self._newer) >= self._generation_size:
            self._older, self._newer = self._newer, {}
        self._newer[key] = refusal

    def get(self, key: str, policy: EffectivePolicy, cost: int, now: float) -> Refusal | None:
        """Return the cached refusal that applies to a hit on this key, `None` without one."""
        refusal = self._newer.get(key) or self._older.get(key)
        if refusal is None:
            return None
        if refusal.expires_at <= now:
            self._newer.pop(key, None)
            self._older.pop(key, None)
            return None
        if refusal.quota == policy.quota and policy.cost * cost >= refusal.cost:
            return refusal
        return None
