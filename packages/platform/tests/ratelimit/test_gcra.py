from limiters import SOMEBODY
from memory_stores import Clock, effective

from service_platform.ratelimit import MemoryStore, RateLimitCaller


def test_gcra_refills_evenly() -> None:
    clock = Clock()
    store = MemoryStore(clock=clock)
    policies = effective("10/second", algorithm="gcra")
    admitted = 0
    for _ in range(2_000):
        clock.microseconds += 1_000
        admitted += store.hit(policies, RateLimitCaller("10.0.0.1"), 1)[0] >= 0
    assert admitted == 10 + 19  # the burst, and one each 100 ms until the 2 s are over


def test_a_quota_that_does_not_divide_the_window_is_refilled_without_rounding() -> None:
    clock = Clock()
    store = MemoryStore(clock=clock)
    policies = effective("7/second", algorithm="gcra")  # one unit each 142857.142… microseconds
    admitted = 0
    for _ in range(200):
        clock.microseconds += 5_000_000
        admitted += sum(store.hit(policies, SOMEBODY, 1)[0] >= 0 for _ in range(9))
    assert admitted == 200 * 7
