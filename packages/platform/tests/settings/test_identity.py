"""Settings of access tokens: who issues them and for whom."""

from collections.abc import Callable

import pytest

from service_platform.settings import PlatformSettings, load_settings

Variables = Callable[..., None]
Mistakes = Callable[[], str]


def test_the_audience_is_the_service_unless_told(set_variables: Variables) -> None:
    set_variables(PROJECT_NAME="orders")
    assert load_settings(PlatformSettings).jwt_audience == "orders"
    set_variables(JWT_AUDIENCE="shop")
    assert load_settings(PlatformSettings).jwt_audience == "shop"


@pytest.mark.parametrize("name", ["JWT_ISSUER", "AUTH_URL"])
@pytest.mark.parametrize("value", ["auth.example", "https://auth.example/", "https:// a.example"])
def test_an_issuer_is_a_url_without_a_slash_at_its_end(
    set_variables: Variables, mistakes: Mistakes, name: str, value: str
) -> None:
    set_variables(**{name: value})
    assert f"{name}: string should match pattern" in mistakes()


@pytest.mark.parametrize("algorithm", ["none", "HS256", "es256"])
def test_only_asymmetric_algorithms_are_known(
    set_variables: Variables, mistakes: Mistakes, algorithm: str
) -> None:
    set_variables(JWT_ALGORITHM=algorithm)
    assert "JWT_ALGORITHM: input should be 'ES256' or 'RS256'" in mistakes()


def test_the_client_secret_does_not_show(set_variables: Variables) -> None:
    set_variables(SERVICE_CLIENT_SECRET="hunter2")
    assert "hunter2" not in repr(load_settings(PlatformSettings))
