"""What a limiter must answer, written for being obviously right and nothing else.

It remembers every request ever admitted and adds up from the beginning each time.
"""

from dataclasses import dataclass, field
from fractions import Fraction

from service_platform.ratelimit.effective_policy import EffectivePolicy


@dataclass
class ReferenceLimiter:
    """Decides policies for keys at given microseconds.

    Attributes:
        admitted: time and units of every admission, by policy and key.
    """

    admitted: dict[tuple[str, str], list[tuple[int, int]]] = field(default_factory=dict)

    def hit(
        self, policies: tuple[EffectivePolicy, ...], key: str, cost: int, now: int
    ) -> list[int]:
        """The answer as `MemoryStore.decide` and the script give it."""
        waits = [self._wait(policy, key, policy.cost * cost, now) for policy in policies]
        admitted = not any(
            wait and not policy.shadow for policy, wait in zip(policies, waits, strict=True)
        )
        answer: list[int] = []
        for policy, wait in zip(policies, waits, strict=True):
            if wait:
                answer += (-1 - self._left(policy, key, now), wait)
                continue
            if admitted:
                self._log(policy, key).append((now, policy.cost * cost))
            answer += (self._left(policy, key, now), self._reset(policy, key, now))
        return answer

    def _log(self, policy: EffectivePolicy, key: str) -> list[tuple[int, int]]:
        return self.admitted.setdefault((policy.counter_key, key), [])

    def _used(self, policy: EffectivePolicy, key: str, at: int) -> int:
        return sum(units for time, units in self._log(policy, key) if time + policy.window > at)

    def _wait(self, policy: EffectivePolicy, key: str, units: int, now: int) -> int:
        if units > policy.quota:
            return policy.window
        if policy.is_sliding_window:
            # Room can only appear at the moment something expires.
            moments = [now] + [time + policy.window for time, _ in self._log(policy, key)]
            return min(
                at - now
                for at in moments
                if at >= now and self._used(policy, key, at) + units <= policy.quota
            )
        excess = self._full_at(policy, key, now) + self._refill(policy, units) - now - policy.window
        return max(0, -int(-excess // 1))

    def _left(self, policy: EffectivePolicy, key: str, now: int) -> int:
        if policy.is_sliding_window:
            return max(0, policy.quota - self._used(policy, key, now))
        missing = self._full_at(policy, key, now) - now
        return int((policy.window - missing) * policy.quota // policy.window)

    def _reset(self, policy: EffectivePolicy, key: str, now: int) -> int:
        if policy.is_sliding_window:
            living = [time for time, _ in self._log(policy, key) if time + policy.window > now]
            return min(living) + policy.window - now if living else 0
        return -int(-(self._full_at(policy, key, now) - now) // 1)

    def _refill(self, policy: EffectivePolicy, units: int) -> Fraction:
        return Fraction(units * policy.window, policy.quota)

    def _full_at(self, policy: EffectivePolicy, key: str, now: int) -> Fraction:
        """When a bucket that refills evenly is full again: replayed from the first request."""
        full_at = Fraction(0)
        for time, units in self._log(policy, key):
            full_at = max(full_at, Fraction(time)) + self._refill(policy, units)
        return max(full_at, Fraction(now))


def worst_window(admissions: list[tuple[int, int]], window: int) -> int:
    """The most units in any interval `[t, t + window)`, looked for from every admission."""
    return max(
        (
            sum(units for time, units in admissions if start <= time < start + window)
            for start, _ in admissions
        ),
        default=0,
    )
