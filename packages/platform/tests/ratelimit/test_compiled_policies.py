import pytest

from service_platform.ratelimit import Policy
from service_platform.ratelimit.compiled_policies import CompiledPolicies, PolicyCompiler


def test_roles_have_tiers_and_the_most_generous_applies() -> None:
    policy = Policy.parse(
        "10/minute", name="a", tiers={"partner": "50/minute", "admin": "1000/minute"}
    )
    compiler = PolicyCompiler()

    def quota(*roles: str) -> int:
        return compiler.compile((policy,), frozenset(roles)).policies[0].quota

    assert (quota(), quota("nobody"), quota("partner"), quota("admin", "partner", "x")) == (
        10, 10, 50, 1000,
    )  # fmt: skip


def test_compiled_policies_are_cached() -> None:
    compiler = PolicyCompiler()
    policies = (Policy.parse("10/minute", name="a", tiers={"admin": "50/minute"}),)
    assert compiler.compile(policies, frozenset({"x"})) is compiler.compile(
        policies, frozenset({"y"})
    )
    for number in range(2_000):  # roles come from tokens; they must not fill the memory
        compiler.compile(policies, frozenset({f"role-{number}"}))
        compiler.compile((Policy.parse("1/minute", name="made-anew"),), frozenset())
    assert compiler.cache_size < 1_000


def test_the_fallback_is_the_part_of_a_replica_or_the_rate_of_the_policy() -> None:
    shared = Policy.parse("100/minute", name="a")
    small = Policy.parse("2/minute", name="b", cost=2)
    login = Policy.parse("10/minute", name="c", fallback="3/minute")
    compiled = CompiledPolicies([shared, small, login], replicas=3)
    assert [str(policy.rate) for policy in compiled.fallback] == [
        "33/minute",
        "2/minute",
        "3/minute",
    ]


def test_policies_of_one_request_need_different_names() -> None:
    with pytest.raises(ValueError, match="names"):
        CompiledPolicies([Policy.parse("1/minute", name="a"), Policy.parse("2/minute", name="a")])
    with pytest.raises(ValueError, match="names"):
        CompiledPolicies([Policy.parse("1/minute")])
