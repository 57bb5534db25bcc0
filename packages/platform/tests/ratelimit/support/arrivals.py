"""Random policies and arrival patterns, with the moments at which limiters go wrong."""

from dataclasses import dataclass, replace

from hypothesis import strategies as st

from service_platform.ratelimit import Policy, Rate
from service_platform.ratelimit.compiled_policies import CompiledPolicies

KEYS = ("10.0.0.1", "10.0.0.2")
START = 1_764_000_000_000_000
"""Microseconds since the epoch: large enough to lose digits where a double is formatted badly."""


@dataclass(frozen=True)
class Arrival:
    """One request: microseconds after the one before, who, and its cost.

    A negative pause is counted from when the last refusal said there would be room: -1 comes one
    microsecond earlier, -2 at that moment.
    """

    after: int
    key: str
    cost: int

    def pause(self, last_wait: int) -> int:
        """Microseconds, given what the last refusal said."""
        return self.after if self.after >= 0 else max(0, last_wait - (self.after == -1))


def longest_wait(answer: list[int]) -> int:
    """What a refused caller is told; 0 where nobody refuses."""
    pairs = zip(answer[::2], answer[1::2], strict=True)
    return max((wait for left, wait in pairs if left < 0), default=0)


def policies() -> st.SearchStrategy[tuple[Policy, ...]]:
    one = st.builds(
        lambda quota, window, algorithm, cost, shadow: Policy(
            Rate(quota, window), by="address", algorithm=algorithm,
            cost=min(cost, quota), shadow=shadow,
        ),
        quota=st.integers(1, 9),
        window=st.integers(1, 3),
        algorithm=st.sampled_from(["sliding-window", "gcra"]),
        cost=st.integers(1, 3),
        shadow=st.sampled_from([False, False, False, True]),
    )  # fmt: skip
    return st.lists(one, min_size=1, max_size=3).map(
        lambda found: tuple(replace(policy, name=f"policy-{at}") for at, policy in enumerate(found))
    )


def compiled_policies() -> st.SearchStrategy[CompiledPolicies]:
    return policies().map(CompiledPolicies)


def arrivals() -> st.SearchStrategy[list[Arrival]]:
    pause = st.one_of(
        st.just(0),
        st.sampled_from([-1, -2]),
        st.sampled_from([1, 999_999, 1_000_000, 1_000_001, 2_000_000, 3_000_000]),
        st.integers(1, 300_000),
        st.integers(1, 300_000),
        st.integers(0, 5_000_000),
    )
    one = st.builds(
        Arrival,
        after=pause,
        key=st.sampled_from(KEYS),
        cost=st.sampled_from([1, 1, 2, 3, 11]),
    )
    return st.lists(one, min_size=20, max_size=60)
