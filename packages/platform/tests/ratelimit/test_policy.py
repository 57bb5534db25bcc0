import pytest

from service_platform.ratelimit import Policy, Rate, declared_policies, limit
from service_platform.ratelimit.compiled_policies import CompiledPolicies, PolicyCompiler
from service_platform.settings import PlatformSettings

WRITES = Policy.parse("9/minute", name="writes")


@pytest.mark.parametrize(
    ("text", "quota", "seconds"),
    [
        ("100/minute", 100, 60),
        ("5/second", 5, 1),
        ("5 per 10 seconds", 5, 10),
        ("1000/h", 1000, 3600),
        ("10/2 days", 10, 172_800),
        (" 7 / 30s ", 7, 30),
    ],
)
def test_a_rate_reads_as_people_write_it(text: str, quota: int, seconds: int) -> None:
    assert Rate.parse(text) == (quota, seconds)
    assert Rate.parse(str(Rate.parse(text))) == (quota, seconds)


@pytest.mark.parametrize(
    "text",
    ["", "100", "100/fortnight", "-1/minute", "0/minute", "5/0 seconds", "5/40 days",
     "99999999/minute", "5/minute; drop", "\u0665/minute"],
)  # fmt: skip
def test_what_is_no_rate_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match=r"rate|quota|window"):
        Rate.parse(text)


def test_a_rate_prints_as_it_is_written() -> None:
    assert str(Rate.parse("100/minute")) == "100/minute"
    assert str(Rate.parse("5/90 seconds")) == "5/90 seconds"


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"by": "mood"}, "by="),
        ({"algorithm": "fixed-window"}, "algorithm="),
        ({"name": 'a";q=9'}, "name="),
        ({"cost": 0}, "cost="),
        ({"cost": 101}, "cost="),
        ({"tiers": {"admin": "5/minute"}, "cost": 6}, "cost="),
        ({"tiers": {"admin": "lots"}}, "not a rate"),
        ({"tiers": {"admin": "50000/minute"}, "algorithm": "sliding-window"}, "gcra"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused_when_it_is_made(
    options: dict[str, object], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        Policy.parse("100/minute", **options)  # type: ignore[arg-type]


def test_the_default_algorithm_is_exact_as_long_as_that_is_affordable() -> None:
    assert Policy.parse("10000/minute").algorithm == "sliding-window"
    assert Policy.parse("10001/minute").algorithm == "gcra"
    assert Policy.parse("10/minute", tiers={"admin": "20000/minute"}).algorithm == "gcra"


def test_an_endpoint_declares_its_limits_in_the_order_of_the_source() -> None:
    @limit("5/minute", by="address")
    @limit("100/day", by="account", name="daily", shadow=True)
    async def login() -> None: ...

    first, second = declared_policies(login)
    assert (str(first), first.name) == ("5/minute by address", "login-2")
    assert (str(second), second.name) == ("100/day by account, shadow", "daily")
    assert declared_policies(test_a_rate_prints_as_it_is_written) == ()


def test_two_endpoints_of_one_name_are_counted_apart_and_a_named_policy_together() -> None:
    def declare(module: str) -> tuple[Policy, ...]:
        async def create() -> None: ...

        create.__module__ = module
        return declared_policies(limit("5/minute")(limit(WRITES)(create)))

    own, shared = zip(declare("items.routes"), declare("orders.routes"), strict=True)
    assert len({CompiledPolicies([policy]).policies[0].counter_key for policy in own}) == 2
    assert {CompiledPolicies([policy]).policies[0].counter_key for policy in shared} == {
        "writes:w60"
    }


def test_the_service_wide_policy_comes_from_the_settings() -> None:
    settings = PlatformSettings(rate_limit_requests=7, rate_limit_window_seconds=30)
    (policy,) = Policy.service_wide(settings)
    assert (str(policy), policy.name) == ("7/30 seconds by account", "default")
    off = PlatformSettings(rate_limit_enabled=False)
    assert Policy.service_wide(off) == ()
    large = PlatformSettings(rate_limit_requests=1_000_000)
    assert Policy.service_wide(large)[0].algorithm == "gcra"


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


def test_plans_are_made_once() -> None:
    compiler = PolicyCompiler()
    policies = (Policy.parse("10/minute", name="a", tiers={"admin": "50/minute"}),)
    assert compiler.compile(policies, frozenset({"x"})) is compiler.compile(
        policies, frozenset({"y"})
    )
    for number in range(10_000):  # roles come from tokens; they must not fill the memory
        compiler.compile(policies, frozenset({f"role-{number}"}))
        compiler.compile((Policy.parse("1/minute", name="made-anew"),), frozenset())
    assert compiler.cache_size < 1_000


def test_while_redis_is_away_a_replica_allows_its_part_or_the_fallback_of_the_policy() -> None:
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
