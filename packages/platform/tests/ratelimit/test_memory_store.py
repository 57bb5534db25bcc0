import json
import subprocess
import sys
from itertools import count

import pytest
from arrivals import START, Arrival, arrivals, longest_wait, plans
from hypothesis import given, settings
from slow_limiter import SlowLimiter, worst_window

from service_platform.ratelimit import Identity, MemoryStore, Policy
from service_platform.ratelimit.memory import WindowMeter
from service_platform.ratelimit.plan import Plan, Term


class Clock:
    """Nanoseconds that pass when a test says so."""

    def __init__(self, microseconds: int = START) -> None:
        self.microseconds = microseconds

    def __call__(self) -> int:
        return self.microseconds * 1000


def terms_of(*rates: str, **options: object) -> tuple[Term, ...]:
    return Plan(
        Policy.parse(rate, name=f"p{at}", by="address", **options)  # type: ignore[arg-type]
        for at, rate in enumerate(rates)
    ).terms


def units_held(term: Term) -> list[int]:
    """Length of each caller's log, expired units included."""
    assert isinstance(term.meter, WindowMeter)
    return [len(log.stamps) for log in term.meter.entries.values()]


@settings(max_examples=150, deadline=None)
@given(plan=plans(), pattern=arrivals())
def test_it_answers_as_the_slow_model_at_any_arrival_pattern(
    plan: Plan, pattern: list[Arrival]
) -> None:
    clock = Clock()
    store = MemoryStore(clock=clock)
    model = SlowLimiter()
    told = 0
    for arrival in pattern:
        clock.microseconds += arrival.pause(told)
        answer = store.decide(plan.terms, Identity(arrival.key), arrival.cost)
        assert answer == model.decide(plan.terms, arrival.key, arrival.cost, clock.microseconds)
        told = longest_wait(answer) or told


@settings(max_examples=100, deadline=None)
@given(plan=plans(), pattern=arrivals())
def test_no_window_ever_sees_more_than_the_quota(plan: Plan, pattern: list[Arrival]) -> None:
    clock = Clock()
    store = MemoryStore(clock=clock)
    admitted: dict[tuple[str, str], list[tuple[int, int]]] = {}
    told = 0
    for arrival in pattern:
        clock.microseconds += arrival.pause(told)
        answer = store.decide(plan.terms, Identity(arrival.key), arrival.cost)
        told = longest_wait(answer) or told
        pairs = list(zip(plan.terms, answer[::2], strict=True))
        if any(left < 0 and not term.shadow for term, left in pairs):
            continue
        for term, left in pairs:
            if left >= 0:
                entry = (clock.microseconds, term.cost * arrival.cost)
                admitted.setdefault((term.key, arrival.key), []).append(entry)
    for term in plan.terms:
        for (key, _), log in admitted.items():
            if key == term.key and term.exact:
                assert worst_window(log, term.window) <= term.quota


def test_a_client_that_waits_as_told_is_served_and_a_moment_earlier_it_is_not() -> None:
    clock = Clock()
    store = MemoryStore(clock=clock)
    terms = terms_of("3/second")
    for _ in range(3):
        store.decide(terms, Identity("10.0.0.1"), 1)
        clock.microseconds += 100
    left, wait = store.decide(terms, Identity("10.0.0.1"), 1)
    assert left == -1
    clock.microseconds += wait - 1
    assert store.decide(terms, Identity("10.0.0.1"), 1) == [-1, 1]
    clock.microseconds += 1
    assert store.decide(terms, Identity("10.0.0.1"), 1)[0] == 0


def test_a_refused_request_takes_nothing_from_any_policy() -> None:
    store = MemoryStore(clock=Clock())
    terms = terms_of("1/minute", "100/hour")
    first = store.decide(terms, Identity("10.0.0.1"), 1)
    second = store.decide(terms, Identity("10.0.0.1"), 1)
    assert (first[0], first[2]) == (0, 99)
    assert (second[0], second[2]) == (-1, 99)


def test_gcra_refills_evenly() -> None:
    clock = Clock()
    store = MemoryStore(clock=clock)
    terms = terms_of("10/second", algorithm="gcra")
    admitted = 0
    for _ in range(2_000):
        clock.microseconds += 1_000
        admitted += store.decide(terms, Identity("10.0.0.1"), 1)[0] >= 0
    assert admitted == 10 + 19  # the burst, and one each 100 ms until the 2 s are over


def test_what_no_longer_counts_makes_room_for_new_callers() -> None:
    clock = Clock()
    store = MemoryStore(max_keys=1_000, clock=clock)
    terms = terms_of("5/second")
    for number in range(20_000):
        clock.microseconds += 2_000  # 500 callers a window
        store.decide(terms, Identity(key=str(number), address=f"n{number}"), 1)
    assert store.bound.keys <= 502
    assert store.bound.evicted == 0


@pytest.mark.parametrize("algorithm", ["sliding-window", "gcra"])
def test_beyond_its_memory_it_forgets_whoever_was_idle_for_longest(algorithm: str) -> None:
    store = MemoryStore(max_keys=100, clock=Clock())
    terms = terms_of("2/minute", algorithm=algorithm)
    busy = Identity("busy")
    store.decide(terms, busy, 1)
    store.decide(terms, busy, 1)
    for number in range(99):
        store.decide(terms, Identity(f"n{number}"), 1)
    assert store.bound.evicted == 0
    store.decide(terms, Identity("one more"), 1)
    assert (store.bound.keys, store.bound.evicted) == (100, 1)
    assert store.decide(terms, busy, 1)[0] == 1  # the two units were forgotten with the caller


@pytest.mark.parametrize("algorithm", ["sliding-window", "gcra"])
def test_whoever_keeps_calling_is_never_forgotten(algorithm: str) -> None:
    store = MemoryStore(max_keys=100, clock=Clock())
    terms = terms_of("20/minute", algorithm=algorithm)
    admitted = 0
    for number in range(1_000):
        store.decide(terms, Identity(f"n{number}"), 1)
        if number % 20 == 0:
            admitted += store.decide(terms, Identity("busy"), 1)[0] >= 0
    assert admitted == 20


def test_units_are_bounded_as_well_as_callers() -> None:
    store = MemoryStore(max_keys=1_000, max_units=5_000, clock=Clock())
    terms = terms_of("1000/hour")
    for number in range(50):
        for _ in range(10):
            store.decide(terms, Identity(f"n{number}"), 100)
        assert sum(units_held(terms[0])) == store.bound.units <= 5_000


def test_memory_is_counted_right_however_many_policies_compete_for_it() -> None:
    clock = Clock()
    store = MemoryStore(max_keys=100, max_units=400, clock=clock)
    by_client = Policy.parse("300/second", name="by-client", by="client")
    terms = (*terms_of("50/minute", "60/hour"), *Plan([by_client]).terms)
    for number in range(3_000):
        clock.microseconds += 1_000
        store.decide(terms, Identity(f"n{number % 37}", client="web"), 1 + number % 5)
        meters = [term.meter for term in terms if isinstance(term.meter, WindowMeter)]
        logs = [log for meter in meters for log in meter.entries.values()]
        assert store.bound.keys == len(logs) <= 100
        assert store.bound.units == sum(len(log.stamps) - log.head for log in logs) <= 400


def test_a_store_without_memory_is_refused() -> None:
    with pytest.raises(ValueError, match="room"):
        MemoryStore(max_keys=1)


def test_one_policy_cannot_starve_another_of_memory() -> None:
    store = MemoryStore(max_keys=100, clock=Clock())
    flooded, quiet = terms_of("5/minute", "2/hour")
    store.decide((quiet,), Identity("quiet"), 2)
    for number in range(1_000):
        store.decide((flooded,), Identity(f"n{number}"), 1)
    assert store.decide((quiet,), Identity("quiet"), 1)[0] == -1


GROWTH = """
import json, resource, sys
from service_platform.ratelimit import Identity, MemoryStore, Policy
from service_platform.ratelimit.memory import WindowMeter
from service_platform.ratelimit.plan import Plan

store = MemoryStore()
terms = Plan([Policy.parse("100/minute", name="a", by="address")]).terms
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = peak()
half = None
for number in range(1_000_000):
    address = f"{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}.7"
    store.decide(terms, Identity(address), 1)
    if number == 500_000:
        half = peak()
json.dump({"before": before, "half": half, "after": peak(), "keys": store.bound.keys}, sys.stdout)
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
    terms = terms_of("10000/second")
    identity = Identity("10.0.0.1")
    longest = 0
    for step in count():
        clock.microseconds += 100
        store.decide(terms, identity, 1)
        longest = max(longest, *units_held(terms[0]))
        if step == 50_000:
            break
    assert longest <= 2 * 10_000 + 65
    assert store.bound.units == 10_000
