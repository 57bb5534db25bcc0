"""The memory that the limiters of a store share."""

import pytest
from memory_stores import Clock, effective

from service_platform.ratelimit import MemoryStore, Policy, RateLimitCaller
from service_platform.ratelimit.compiled_policies import CompiledPolicies
from service_platform.ratelimit.sliding_window import SlidingWindowLimiter


def test_expired_keys_make_room_for_new_callers() -> None:
    clock = Clock()
    store = MemoryStore(max_keys=1_000, clock=clock)
    policies = effective("5/second")
    for number in range(20_000):
        clock.microseconds += 2_000  # 500 callers a window
        store.hit(policies, RateLimitCaller(key=str(number), address=f"n{number}"), 1)
    assert store.capacity.keys <= 502
    assert store.capacity.evicted == 0


@pytest.mark.parametrize("algorithm", ["sliding-window", "gcra"])
def test_beyond_its_capacity_the_least_recently_used_key_is_evicted(algorithm: str) -> None:
    store = MemoryStore(max_keys=100, clock=Clock())
    policies = effective("2/minute", algorithm=algorithm)
    busy = RateLimitCaller("busy")
    store.hit(policies, busy, 1)
    store.hit(policies, busy, 1)
    for number in range(99):
        store.hit(policies, RateLimitCaller(f"n{number}"), 1)
    assert store.capacity.evicted == 0
    store.hit(policies, RateLimitCaller("one more"), 1)
    assert (store.capacity.keys, store.capacity.evicted) == (100, 1)
    assert store.hit(policies, busy, 1)[0] == 1  # the two units were forgotten with the caller


@pytest.mark.parametrize("algorithm", ["sliding-window", "gcra"])
def test_a_caller_that_keeps_calling_is_never_evicted(algorithm: str) -> None:
    store = MemoryStore(max_keys=100, clock=Clock())
    policies = effective("20/minute", algorithm=algorithm)
    admitted = 0
    for number in range(1_000):
        store.hit(policies, RateLimitCaller(f"n{number}"), 1)
        if number % 20 == 0:
            admitted += store.hit(policies, RateLimitCaller("busy"), 1)[0] >= 0
    assert admitted == 20


def test_keys_and_units_are_counted_right_over_several_policies() -> None:
    clock = Clock()
    store = MemoryStore(max_keys=100, max_units=400, clock=clock)
    by_client = Policy.parse("300/second", name="by-client", by="client")
    policies = (*effective("50/minute", "60/hour"), *CompiledPolicies([by_client]).policies)
    for number in range(3_000):
        clock.microseconds += 1_000
        store.hit(policies, RateLimitCaller(f"n{number % 37}", client="web"), 1 + number % 5)
        meters = [
            policy.memory_limiter
            for policy in policies
            if isinstance(policy.memory_limiter, SlidingWindowLimiter)
        ]
        logs = [log for meter in meters for log in meter.states.values()]
        assert store.capacity.keys == len(logs) <= 100
        assert store.capacity.units == sum(len(log.timestamps) - log.head for log in logs) <= 400


def test_a_store_without_capacity_is_refused() -> None:
    with pytest.raises(ValueError, match="room"):
        MemoryStore(max_keys=1)


def test_one_policy_cannot_evict_the_keys_of_another() -> None:
    store = MemoryStore(max_keys=100, clock=Clock())
    flooded, quiet = effective("5/minute", "2/hour")
    store.hit((quiet,), RateLimitCaller("quiet"), 2)
    for number in range(1_000):
        store.hit((flooded,), RateLimitCaller(f"n{number}"), 1)
    assert store.hit((quiet,), RateLimitCaller("quiet"), 1)[0] == -1
