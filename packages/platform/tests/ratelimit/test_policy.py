import pytest

from service_platform.ratelimit import Policy, declared_policies, limit
from service_platform.settings import PlatformSettings


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
def test_an_invalid_policy_is_refused_when_it_is_made(
    options: dict[str, object], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        Policy.parse("100/minute", **options)  # type: ignore[arg-type]


def test_the_default_algorithm_is_a_sliding_window_up_to_its_largest_quota() -> None:
    assert Policy.parse("10000/minute").algorithm == "sliding-window"
    assert Policy.parse("10001/minute").algorithm == "gcra"
    assert Policy.parse("10/minute", tiers={"admin": "20000/minute"}).algorithm == "gcra"


def test_an_endpoint_declares_its_limits_in_the_order_of_the_source() -> None:
    @limit("5/minute", by="address")
    @limit("100/day", by="account", name="daily", shadow=True)
    async def login() -> None: ...

    async def undeclared() -> None: ...

    first, second = declared_policies(login)
    assert (str(first), first.name) == ("5/minute by address", "login-2")
    assert (str(second), second.name) == ("100/day by account, shadow", "daily")
    assert declared_policies(undeclared) == ()


def test_the_service_wide_policy_comes_from_the_settings() -> None:
    settings = PlatformSettings(rate_limit_requests=7, rate_limit_window_seconds=30)
    (policy,) = Policy.service_wide(settings)
    assert (str(policy), policy.name) == ("7/30 seconds by account", "default")
    off = PlatformSettings(rate_limit_enabled=False)
    assert Policy.service_wide(off) == ()
    large = PlatformSettings(rate_limit_requests=1_000_000)
    assert Policy.service_wide(large)[0].algorithm == "gcra"
