"""The rate limit of a whole service, as its settings say."""

from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient

from service_platform.app import ServiceApp
from service_platform.ratelimit import Policy
from service_platform.settings import PlatformSettings, load_settings

Variables = Callable[..., None]
Mistakes = Callable[[], str]


def test_the_settings_are_the_policy_of_every_request(set_variables: Variables) -> None:
    set_variables(RATE_LIMIT_REQUESTS="30", RATE_LIMIT_WINDOW_SECONDS="3600")
    (policy,) = Policy.service_wide(load_settings(PlatformSettings))
    assert (policy.rate.quota, policy.rate.window_seconds, policy.shadow) == (30, 3600, False)


@pytest.mark.parametrize(("shadow", "statuses"), [("true", [404, 404]), ("false", [404, 429])])
def test_a_limit_can_be_tried_without_refusing_anybody(
    set_variables: Variables, shadow: str, statuses: list[int]
) -> None:
    set_variables(RATE_LIMIT_SHADOW=shadow, RATE_LIMIT_REQUESTS="1", RATE_LIMIT_BACKEND="memory")
    with TestClient(ServiceApp(settings=load_settings(PlatformSettings))) as client:
        assert [client.get("/").status_code for _ in range(2)] == statuses


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RATE_LIMIT_REQUESTS", "0"),
        ("RATE_LIMIT_WINDOW_SECONDS", "86401"),
        ("RATE_LIMIT_BACKEND", "memcached"),
        ("RATE_LIMIT_TIMEOUT_SECONDS", "5"),
    ],
)
def test_what_cannot_be_counted_is_refused(
    set_variables: Variables, mistakes: Mistakes, name: str, value: str
) -> None:
    set_variables(**{name: value})
    assert f"{name}: input should be" in mistakes()
