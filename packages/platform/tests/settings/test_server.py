"""Settings of the server: browsers and proxies that are believed, bounds."""

from collections.abc import Callable

import pytest

from service_platform.settings import PlatformSettings, load_settings

Variables = Callable[..., None]
Mistakes = Callable[[], str]


@pytest.mark.parametrize(
    "origins",
    ["https://app.example/path", "https://app.example/", "app.example", "ftp://a.example"],
)
def test_an_origin_has_a_scheme_and_no_path(
    set_variables: Variables, mistakes: Mistakes, origins: str
) -> None:
    set_variables(CORS_ORIGINS=f"https://fine.example,{origins}")
    assert "CORS_ORIGINS: each must be an origin such as https://app.example.com" in mistakes()


def test_credentials_are_not_allowed_for_every_origin(
    set_variables: Variables, mistakes: Mistakes
) -> None:
    set_variables(CORS_ORIGINS="*", CORS_ALLOW_CREDENTIALS="true")
    assert "CORS_ALLOW_CREDENTIALS: cannot be true while CORS_ORIGINS is *" in mistakes()


def test_proxies_are_networks(set_variables: Variables, mistakes: Mistakes) -> None:
    set_variables(TRUSTED_PROXIES="10.0.0.0/8, 192.0.2.7,fd00::/8")
    networks = load_settings(PlatformSettings).trusted_networks
    assert [str(each) for each in networks] == ["10.0.0.0/8", "192.0.2.7/32", "fd00::/8"]
    set_variables(TRUSTED_PROXIES="10.0.0.1/8")
    assert "TRUSTED_PROXIES: each must be a network" in mistakes()


def test_the_number_of_workers_has_the_name_that_platforms_set_too(
    set_variables: Variables,
) -> None:
    set_variables(WEB_CONCURRENCY="3")
    assert load_settings(PlatformSettings).workers == 3
    set_variables(WORKERS="2")
    assert load_settings(PlatformSettings).workers == 2


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "65536"),
        ("MAX_BODY_BYTES", "1023"),
        ("REQUEST_TIMEOUT_SECONDS", "0"),
        ("KEEP_ALIVE_SECONDS", "inf"),
        ("WORKERS", "0"),
    ],
)
def test_values_out_of_bounds_are_refused(
    set_variables: Variables, mistakes: Mistakes, name: str, value: str
) -> None:
    set_variables(**{name: value})
    assert f"  {name}: input should be" in mistakes()
