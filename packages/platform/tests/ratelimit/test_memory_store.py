import json
import subprocess
import sys
from itertools import count

import pytest
from arrivals import START, Arrival, arrivals, compiled_policies, longest_wait
from hypothesis import given, settings
from reference_limiter import ReferenceLimiter, worst_window

from service_platform.ratelimit import MemoryStore, Policy, RateLimitCaller
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


@settings(max_examples=150, deadline=None)
@given(compiled=compiled_policies(), pattern=arrivals())
def test_it_answers_as_the_slow_model_at_any_arrival_pattern(
    compiled: CompiledPolicies, pattern: list[Arrival]
) -> None:
    clock = Clock()
    store = MemoryStore(clock=clock)
    model = ReferenceLimiter()
    told = 0
    for arrival in pattern:
        clock.microseconds += arrival.pause(told)
        answer = store.hit(compiled.policies, RateLimitCaller(arrival.key), arrival.cost)
        assert answer == model.hit(compiled.policies, arrival.key, arrival.cost, clock.microseconds)
        told = longest_wait(answer) or told


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


def test_a_refused_request_takes_nothing_from_any_policy() -> None:
    store = MemoryStore(clock=Clock())
    policies = effective("1/minute", "100/hour")
    first = store.hit(policies, RateLimitCaller("10.0.0.1"), 1)
    second = store.hit(policies, RateLimitCaller("10.0.0.1"), 1)
    assert (first[0], first[2]) == (0, 99)
    assert (second[0], second[2]) == (-1, 99)


def test_gcra_refills_evenly() -> None:
    clock = Clock()
    store = MemoryStore(clock=clock)
    policies = effective("10/second", algorithm="gcra")
    admitted = 0
    for _ in range(2_000):
        clock.microseconds += 1_000
        admitted += store.hit(policies, RateLimitCaller("10.0.0.1"), 1)[0] >= 0
    assert admitted == 10 + 19  # the burst, and one each 100 ms until the 2 s are over


def test_what_no_longer_counts_makes_room_for_new_callers() -> None:
    clock = Clock()
    store = MemoryStore(max_keys=1_000, clock=clock)
    policies = effective("5/second")
    for number in range(20_000):
        clock.microseconds += 2_000  # 500 callers a window
        store.hit(policies, RateLimitCaller(key=str(number), address=f"n{number}"), 1)
    assert store.capacity.keys <= 502
    assert store.capacity.evicted == 0


@pytest.mark.parametrize("algorithm", ["sliding-window", "gcra"])
def test_beyond_its_memory_it_forgets_whoever_was_idle_for_longest(algorithm: str) -> None:
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
def test_whoever_keeps_calling_is_never_forgotten(algorithm: str) -> None:
    store = MemoryStore(max_keys=100, clock=Clock())
    policies = effective("20/minute", algorithm=algorithm)
    admitted = 0
    for number in range(1_000):
        store.hit(policies, RateLimitCaller(f"n{number}"), 1)
        if number % 20 == 0:
            admitted += store.hit(policies, RateLimitCaller("busy"), 1)[0] >= 0
    assert admitted == 20


def test_units_are_bounded_as_well_as_callers() -> None:
    store = MemoryStore(max_keys=1_000, max_units=5_000, clock=Clock())
    policies = effective("1000/hour")
    for number in range(50):
        for _ in range(10):
            store.hit(policies, RateLimitCaller(f"n{number}"), 100)
        assert sum(units_held(policies[0])) == store.capacity.units <= 5_000


def test_memory_is_counted_right_however_many_policies_compete_for_it() -> None:
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


def test_a_store_without_memory_is_refused() -> None:
    with pytest.raises(ValueError, match="room"):
        MemoryStore(max_keys=1)


def test_one_policy_cannot_starve_another_of_memory() -> None:
    store = MemoryStore(max_keys=100, clock=Clock())
    flooded, quiet = effective("5/minute", "2/hour")
    store.hit((quiet,), RateLimitCaller("quiet"), 2)
    for number in range(1_000):
        store.hit((flooded,), RateLimitCaller(f"n{number}"), 1)
    assert store.hit((quiet,), RateLimitCaller("quiet"), 1)[0] == -1


GROWTH = """
import json, resource, sys
from service_platform.ratelimit import RateLimitCaller, MemoryStore, Policy
from service_platform.ratelimit.sliding_window import SlidingWindowLimiter
from service_platform.ratelimit.compiled_policies import CompiledPolicies

store = MemoryStore()
policies = CompiledPolicies([Policy.parse("100/minute", name="a", by="address")]).policies
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = peak()
half = None
for number in range(1_000_000):
    address = f"{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}.7"
    store.hit(policies, RateLimitCaller(address), 1)
    if number == 500_000:
        half = peak()
seen = {"before": before, "half": half, "after": peak(), "keys": store.capacity.keys}
json.dump(seen, sys.stdout)
"""


def test_a_million_addresses_do_not_grow_the_process_past_its_bound() -> None:
    done = subprocess.run([sys.executable, "-c", GROWTH], capture_output=True, check=True)
    seen = json.loads(done.stdout)
    assert seen["keys"] == 65_536
    assert seen["after"] - seen["before"] < 64 * 2**20
    assert seen["after"] - seen["half"] < 4 * 2**20


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
