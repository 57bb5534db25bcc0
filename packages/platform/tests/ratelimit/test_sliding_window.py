from itertools import count

from arrivals import Arrival, arrivals, compiled_policies, longest_wait
from hypothesis import given, settings
from memory_stores import Clock, effective, units_held
from reference_limiter import worst_window

from service_platform.ratelimit import MemoryStore, RateLimitCaller
from service_platform.ratelimit.compiled_policies import CompiledPolicies


@settings(max_examples=100, deadline=None)
@given(compiled=compiled_policies(), pattern=arrivals())
def test_no_window_ever_sees_more_than_the_quota(
    compiled: CompiledPolicies, pattern: list[Arrival]
) -> None:
    clock = Clock()
    store = MemoryStore(clock=clock)
    admitted: dict[tuple[str, str], list[tuple[int, int]]] = {}
    told = 0
    for arrival in pattern:
        clock.microseconds += arrival.pause(told)
        answer = store.hit(compiled.policies, RateLimitCaller(arrival.key), arrival.cost)
        told = longest_wait(answer) or told
        pairs = list(zip(compiled.policies, answer[::2], strict=True))
        if any(left < 0 and not policy.shadow for policy, left in pairs):
            continue
        for policy, left in pairs:
            if left >= 0:
                entry = (clock.microseconds, policy.cost * arrival.cost)
                admitted.setdefault((policy.counter_key, arrival.key), []).append(entry)
    for policy in compiled.policies:
        for (key, _), log in admitted.items():
            if key == policy.counter_key and policy.is_sliding_window:
                assert worst_window(log, policy.window) <= policy.quota


def test_a_client_that_waits_as_told_is_served_and_a_moment_earlier_it_is_not() -> None:
    clock = Clock()
    store = MemoryStore(clock=clock)
    policies = effective("3/second")
    for _ in range(3):
        store.hit(policies, RateLimitCaller("10.0.0.1"), 1)
        clock.microseconds += 100
    left, wait = store.hit(policies, RateLimitCaller("10.0.0.1"), 1)
    assert left == -1
    clock.microseconds += wait - 1
    assert store.hit(policies, RateLimitCaller("10.0.0.1"), 1) == [-1, 1]
    clock.microseconds += 1
    assert store.hit(policies, RateLimitCaller("10.0.0.1"), 1)[0] == 0


def test_units_are_bounded_as_well_as_keys() -> None:
    store = MemoryStore(max_keys=1_000, max_units=5_000, clock=Clock())
    policies = effective("1000/hour")
    for number in range(50):
        for _ in range(10):
            store.hit(policies, RateLimitCaller(f"n{number}"), 100)
        assert sum(units_held(policies[0])) == store.capacity.units <= 5_000


def test_a_check_costs_the_same_however_full_the_window_is() -> None:
    """Counted in array elements touched: expiry looks at each unit once, and never again."""
    clock = Clock()
    store = MemoryStore(clock=clock)
    policies = effective("10000/second")
    caller = RateLimitCaller("10.0.0.1")
    longest = 0
    for step in count():
        clock.microseconds += 100
        store.hit(policies, caller, 1)
        longest = max(longest, *units_held(policies[0]))
        if step == 50_000:
            break
    assert longest <= 2 * 10_000 + 65
    assert store.capacity.units == 10_000
