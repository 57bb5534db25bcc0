import json
import os
import subprocess
import sys

from arrivals import Arrival, arrivals, compiled_policies, longest_wait
from hypothesis import given, settings
from memory_stores import Clock, effective
from reference_limiter import ReferenceLimiter

from service_platform.ratelimit import MemoryStore, RateLimitCaller
from service_platform.ratelimit.compiled_policies import CompiledPolicies


@settings(max_examples=150, deadline=None)
@given(compiled=compiled_policies(), pattern=arrivals())
def test_it_decides_like_the_reference_limiter_at_any_arrival_pattern(
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


def test_a_refused_request_uses_no_units_of_any_policy() -> None:
    store = MemoryStore(clock=Clock())
    policies = effective("1/minute", "100/hour")
    first = store.hit(policies, RateLimitCaller("10.0.0.1"), 1)
    second = store.hit(policies, RateLimitCaller("10.0.0.1"), 1)
    assert (first[0], first[2]) == (0, 99)
    assert (second[0], second[2]) == (-1, 99)


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
addresses = int(sys.argv[1])
for number in range(addresses):
    address = f"{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}.7"
    store.hit(policies, RateLimitCaller(address), 1)
    if number == addresses // 2:
        half = peak()
seen = {"before": before, "half": half, "after": peak(), "keys": store.capacity.keys}
json.dump(seen, sys.stdout)
"""


def test_several_times_as_many_addresses_do_not_grow_the_process_past_its_capacity() -> None:
    addresses = "1_000_000" if os.environ.get("FULL_SCALE") else "200_000"
    program = [sys.executable, "-c", GROWTH, addresses]
    done = subprocess.run(program, capture_output=True, check=True)
    seen = json.loads(done.stdout)
    assert seen["keys"] == 65_536
    assert seen["after"] - seen["before"] < 64 * 2**20
    assert seen["after"] - seen["half"] < 4 * 2**20
