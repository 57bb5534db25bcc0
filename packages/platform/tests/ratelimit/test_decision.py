import time
from typing import Any, cast

import http_sf
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service_platform.ratelimit import Decision, Policy
from service_platform.ratelimit.compiled_policies import CompiledPolicies
from service_platform.ratelimit.decision import FALLBACK, MEMORY, REDIS, REFUSAL_CACHE

SECOND = 1_000_000
TWO = (Policy.parse("100/minute", name="per-minute"), Policy.parse("1000/hour", name="per.hour"))


def fields(decision: Decision) -> dict[str, str]:
    pairs = [(name.decode(), value.decode()) for name, value in decision.headers]
    assert len(dict(pairs)) == len(pairs)
    assert all(name == name.lower() for name, _ in pairs)
    return dict(pairs)


def items(field: str) -> dict[str, dict[str, Any]]:
    """A List of Items (RFC 9651), read by somebody else's parser."""
    parsed = cast("list[tuple[Any, dict[str, Any]]]", http_sf.parse(field.encode(), tltype="list"))
    assert all(isinstance(value, str) for value, _ in parsed)  # a String, not a Token
    return dict(parsed)


def test_the_fields_are_structured_fields_as_the_draft_defines_them() -> None:
    told = fields(Decision(CompiledPolicies(TWO), [57, 12_300_000, 900, 3_000 * SECOND], MEMORY))
    assert items(told["ratelimit-policy"]) == {
        "per-minute": {"q": 100, "w": 60},
        "per.hour": {"q": 1000, "w": 3600},
    }
    assert items(told["ratelimit"]) == {
        "per-minute": {"r": 57, "t": 13},
        "per.hour": {"r": 900, "t": 3000},
    }


def test_the_older_fields_tell_the_policy_with_least_left() -> None:
    told = fields(Decision(CompiledPolicies(TWO), [57, 12_300_000, 3, 3_000 * SECOND], REDIS))
    assert told["x-ratelimit-limit"] == "1000"
    assert told["x-ratelimit-remaining"] == "3"
    assert 0 <= int(told["x-ratelimit-reset"]) - (time.time() + 3000) <= 5


def test_of_two_with_equally_little_left_the_later_reset_is_told() -> None:
    for answer in ([5, 3_000 * SECOND, 5, SECOND], [5, SECOND, 5, 3_000 * SECOND]):
        told = fields(Decision(CompiledPolicies(TWO), answer, REDIS))
        assert 0 <= int(told["x-ratelimit-reset"]) - (time.time() + 3000) <= 5


def test_a_refusal_tells_when_to_come_back_and_which_policies_refuse() -> None:
    decision = Decision(CompiledPolicies(TWO), [-1, 12_300_000, 900, 3_000 * SECOND], REDIS)
    assert not decision.allowed
    assert decision.violated == ("per-minute",)
    told = fields(decision)
    assert told["retry-after"] == "13"
    assert items(told["ratelimit"]) == {"per-minute": {"r": 0, "t": 13}}
    assert list(items(told["ratelimit-policy"])) == ["per-minute", "per.hour"]


@given(waits=st.lists(st.integers(1, 10**10), min_size=2, max_size=2))
def test_retry_after_is_never_before_the_end_of_an_effective_window(waits: list[int]) -> None:
    decision = Decision(CompiledPolicies(TWO), [-1, waits[0], -4, waits[1]], REDIS)
    told = fields(decision)
    windows = [parameters["t"] for parameters in items(told["ratelimit"]).values()]
    assert int(told["retry-after"]) == max(windows) >= max(waits) / SECOND


def test_without_the_true_count_only_the_policies_are_told() -> None:
    allowed = fields(Decision(CompiledPolicies(TWO), [57, 1, 900, 1], FALLBACK))
    assert list(allowed) == ["ratelimit-policy"]
    refused = fields(Decision(CompiledPolicies(TWO), [-1, 5 * SECOND, 900, 1], FALLBACK))
    assert list(refused) == ["ratelimit-policy", "retry-after"]


def test_a_shadow_policy_never_refuses_and_is_not_told() -> None:
    shadow = Policy.parse("5/minute", name="trial", shadow=True)
    decision = Decision(CompiledPolicies((TWO[0], shadow)), [57, SECOND, -1, SECOND], REDIS)
    assert decision.allowed
    assert decision.shadowed == ("trial",)
    told = fields(decision)
    assert list(items(told["ratelimit"])) == list(items(told["ratelimit-policy"])) == ["per-minute"]
    assert Decision(CompiledPolicies([shadow]), [-1, SECOND], REDIS).headers == []


def test_the_problem_names_the_policies_as_the_draft_wants() -> None:
    decision = Decision(CompiledPolicies(TWO), [-1, SECOND, -1, SECOND], REFUSAL_CACHE)
    problem = decision.problem()
    assert problem.status == 429
    assert problem.uri("https://x") == (
        "https://iana.org/assignments/http-problem-types#quota-exceeded"
    )
    assert problem.extensions == {"violated-policies": ["per-minute", "per.hour"]}


def test_no_policies_no_fields() -> None:
    decision = Decision(CompiledPolicies(()), [], MEMORY)
    assert decision.allowed
    assert decision.headers == []


@pytest.mark.parametrize("name", ["a", "A-b_c.9", "x" * 64])
def test_every_name_a_policy_may_have_is_a_valid_string(name: str) -> None:
    told = fields(Decision(CompiledPolicies([Policy.parse("5/minute", name=name)]), [4, 1], MEMORY))
    assert list(items(told["ratelimit"])) == [name]
