"""A clock for stores in memory, and their policies."""

from arrivals import START

from service_platform.ratelimit import Policy
from service_platform.ratelimit.compiled_policies import CompiledPolicies
from service_platform.ratelimit.effective_policy import EffectivePolicy
from service_platform.ratelimit.sliding_window import SlidingWindowLimiter


class Clock:
    """Nanoseconds that pass when a test says so."""

    def __init__(self, microseconds: int = START) -> None:
        self.microseconds = microseconds

    def __call__(self) -> int:
        return self.microseconds * 1000


def effective(*rates: str, **options: object) -> tuple[EffectivePolicy, ...]:
    return CompiledPolicies(
        Policy.parse(rate, name=f"p{at}", by="address", **options)  # type: ignore[arg-type]
        for at, rate in enumerate(rates)
    ).policies


def units_held(policy: EffectivePolicy) -> list[int]:
    """Length of each caller's log, expired units included."""
    assert isinstance(policy.memory_limiter, SlidingWindowLimiter)
    return [len(log.timestamps) for log in policy.memory_limiter.states.values()]
