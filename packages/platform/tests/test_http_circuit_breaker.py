"""The circuit breaker of HTTP clients, by a clock of the test, against a model of what it says."""

import math
from contextlib import ExitStack

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from prometheus_client import REGISTRY

from service_platform.http_circuit_breaker import (
    FEWEST_ATTEMPTS,
    WINDOW_SECONDS,
    Attempt,
    CircuitBreaker,
    CircuitOpenError,
    CircuitState,
)


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> CircuitBreaker:
    """Stays open for as long as it may."""
    return CircuitBreaker("orders", clock=clock, uniform=lambda _, high: high)


def attempt(breaker: CircuitBreaker, *, failed: bool | None) -> None:
    with breaker.attempt() as made:
        if failed is not None:
            made.record(failed=failed)


def open_circuit(breaker: CircuitBreaker) -> None:
    for _ in range(FEWEST_ATTEMPTS):
        attempt(breaker, failed=True)
    assert state_of(breaker) is CircuitState.OPEN


def state_of(breaker: CircuitBreaker) -> CircuitState:
    return breaker.state


def is_refused(breaker: CircuitBreaker) -> bool:
    try:
        breaker.attempt()
    except CircuitOpenError:
        return True
    return False


def gauge() -> float | None:
    return REGISTRY.get_sample_value("http_client_circuit_open", {"service": "orders"})


def test_half_of_ten_attempts_open_it(breaker: CircuitBreaker) -> None:
    for number in range(FEWEST_ATTEMPTS - 1):
        attempt(breaker, failed=number % 2 == 1)
        assert state_of(breaker) is CircuitState.CLOSED
    attempt(breaker, failed=True)
    assert state_of(breaker) is CircuitState.OPEN
    assert is_refused(breaker)


def test_less_than_half_leaves_it_closed(breaker: CircuitBreaker) -> None:
    for _ in range(100):
        for failed in (False, False, True):
            attempt(breaker, failed=failed)
    assert state_of(breaker) is CircuitState.CLOSED


def test_few_attempts_leave_it_closed(breaker: CircuitBreaker, clock: Clock) -> None:
    for _ in range(50):
        attempt(breaker, failed=True)
        clock.now += WINDOW_SECONDS / (FEWEST_ATTEMPTS - 1) + 0.001
    assert state_of(breaker) is CircuitState.CLOSED


def test_attempts_without_a_result_say_nothing(breaker: CircuitBreaker) -> None:
    for _ in range(FEWEST_ATTEMPTS - 1):
        attempt(breaker, failed=True)
    for _ in range(100):
        attempt(breaker, failed=None)
    assert state_of(breaker) is CircuitState.CLOSED
    attempt(breaker, failed=True)
    assert state_of(breaker) is CircuitState.OPEN


def test_the_refusal_says_when_another_attempt_may_be_made(
    breaker: CircuitBreaker, clock: Clock
) -> None:
    open_circuit(breaker)
    clock.now += 0.5
    with pytest.raises(CircuitOpenError) as refused:
        breaker.attempt()
    assert refused.value.retry_after == 1.5


def test_a_probe_that_succeeds_closes_it(breaker: CircuitBreaker, clock: Clock) -> None:
    open_circuit(breaker)
    clock.now += 2.0
    attempt(breaker, failed=False)
    assert state_of(breaker) is CircuitState.CLOSED
    # What was before is forgotten.
    for _ in range(FEWEST_ATTEMPTS - 1):
        attempt(breaker, failed=True)
    assert state_of(breaker) is CircuitState.CLOSED


def test_one_probe_at_a_time_goes_through(breaker: CircuitBreaker, clock: Clock) -> None:
    open_circuit(breaker)
    clock.now += 2.0
    with breaker.attempt() as probe:
        assert state_of(breaker) is CircuitState.HALF_OPEN
        assert is_refused(breaker)
        probe.record(failed=False)
    assert not is_refused(breaker)


def test_a_probe_that_is_cancelled_lets_the_next_one_through(
    breaker: CircuitBreaker, clock: Clock
) -> None:
    open_circuit(breaker)
    clock.now += 2.0
    with pytest.raises(TimeoutError), breaker.attempt():
        raise TimeoutError
    assert state_of(breaker) is CircuitState.HALF_OPEN
    attempt(breaker, failed=False)
    assert state_of(breaker) is CircuitState.CLOSED


def test_it_stays_open_for_longer_with_each_failed_probe(
    breaker: CircuitBreaker, clock: Clock
) -> None:
    open_circuit(breaker)
    for seconds in (2, 4, 8, 16, 30, 30, 30):
        clock.now += seconds - 0.001
        assert is_refused(breaker)
        clock.now += 0.002
        attempt(breaker, failed=True)
        assert state_of(breaker) is CircuitState.OPEN
    clock.now += 31
    attempt(breaker, failed=False)
    open_circuit(breaker)
    clock.now += 2.001
    assert not is_refused(breaker)


def test_the_time_it_stays_open_varies(clock: Clock) -> None:
    bounds: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        bounds.append((low, high))
        return low

    breaker = CircuitBreaker("orders", clock=clock, uniform=uniform)
    open_circuit(breaker)
    clock.now += 1.0
    attempt(breaker, failed=True)
    assert bounds == [(1.0, 2.0), (2.0, 4.0)]


def test_what_began_before_it_opened_says_nothing_afterwards(
    breaker: CircuitBreaker, clock: Clock
) -> None:
    with ExitStack() as slow:
        began = [slow.enter_context(breaker.attempt()) for _ in range(2 * FEWEST_ATTEMPTS)]
        open_circuit(breaker)
        clock.now += 2.0
        began.pop().record(failed=False)
        assert state_of(breaker) is CircuitState.OPEN
        attempt(breaker, failed=False)
        for each in began:
            each.record(failed=True)
        assert state_of(breaker) is CircuitState.CLOSED


def test_the_gauge_is_one_until_it_is_closed(breaker: CircuitBreaker, clock: Clock) -> None:
    assert gauge() == 0
    open_circuit(breaker)
    assert gauge() == 1
    clock.now += 2.0
    with breaker.attempt() as probe:
        assert gauge() == 1
        probe.record(failed=False)
    assert gauge() == 0


class Model(RuleBasedStateMachine):
    """Attempts that overlap, whose results come in any order, beside a simple list of them."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.breaker = CircuitBreaker("model", clock=self.clock, uniform=lambda _, high: high)
        self.running: list[tuple[Attempt, int]] = []
        self.results: list[tuple[float, bool]] = []
        self.state = CircuitState.CLOSED
        self.probe: Attempt | None = None
        self.openings = 0
        self.failed_probes = 0
        self.open_until = 0.0

    @rule(seconds=st.floats(0, 12))
    def time_passes(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule()
    def time_passes_until_it_is_half_open(self) -> None:
        self.clock.now = max(self.clock.now, self.open_until)

    @rule()
    def an_attempt_begins(self) -> None:
        closed = self.state is CircuitState.CLOSED
        due = self.clock.now >= self.open_until and self.probe is None
        if not closed and not due:
            with pytest.raises(CircuitOpenError) as refused:
                self.breaker.attempt()
            assert refused.value.retry_after == max(self.open_until - self.clock.now, 0)
            return
        begun = self.breaker.attempt()
        if not closed:
            self.state = CircuitState.HALF_OPEN
            self.probe = begun
        self.running.append((begun, self.openings))

    @precondition(lambda self: self.running)
    @rule(data=st.data(), failed=st.booleans() | st.none())
    def an_attempt_ends(self, data: st.DataObject, failed: bool | None) -> None:
        index = data.draw(st.integers(0, len(self.running) - 1))
        ended, openings = self.running.pop(index)
        with ended:
            if failed is not None:
                ended.record(failed=failed)
        if ended is self.probe:
            self.probe = None
            if failed:
                self.failed_probes += 1
                self.opens()
            elif failed is not None:
                self.state, self.failed_probes = CircuitState.CLOSED, 0
                self.results.clear()
        elif failed is not None:
            self.count(openings, failed=failed)

    @rule(failures=st.integers(1, 12))
    def attempts_fail(self, failures: int) -> None:
        for _ in range(failures):
            if self.state is CircuitState.CLOSED:
                attempt(self.breaker, failed=True)
                self.count(self.openings, failed=True)

    def count(self, openings: int, *, failed: bool) -> None:
        if self.state is not CircuitState.CLOSED or openings != self.openings:
            return
        self.results.append((self.clock.now, failed))
        oldest = math.floor(self.clock.now) - WINDOW_SECONDS
        recent = [bad for when, bad in self.results if math.floor(when) > oldest]
        if failed and len(recent) >= 10 and sum(recent) * 2 >= len(recent):
            self.opens()

    def opens(self) -> None:
        self.state = CircuitState.OPEN
        self.openings += 1
        self.open_until = self.clock.now + min(2 * 2**self.failed_probes, 30)

    @invariant()
    def the_states_agree(self) -> None:
        assert self.breaker.state is self.state

    @invariant()
    def the_gauge_agrees(self) -> None:
        # Alone: collecting all that a process of tests has counted takes a tenth of a second.
        [gauge] = REGISTRY.restricted_registry(["http_client_circuit_open"]).collect()
        [shown] = [each.value for each in gauge.samples if each.labels == {"service": "model"}]
        assert shown == (self.state is not CircuitState.CLOSED)

    def teardown(self) -> None:
        """However it went, a service that answers again is called again."""
        for running, _ in self.running:
            with running:
                pass
        self.clock.now += 31
        attempt(self.breaker, failed=False)
        assert self.breaker.state is CircuitState.CLOSED


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
