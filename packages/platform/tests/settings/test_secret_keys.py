"""The secret key: strong where deployed, replaceable without a break."""

from collections.abc import Callable

import pytest

from service_platform.settings import PlatformSettings, load_settings
from service_platform.settings.secret_keys import DEVELOPMENT_SECRET_KEY

Variables = Callable[..., None]
Mistakes = Callable[[], str]


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("SECRET_KEY", "short", "must have 32 characters or more"),
        ("SECRET_KEY", DEVELOPMENT_SECRET_KEY, "is the development default"),
        ("SECRET_KEY_FALLBACKS", f"{'k' * 48},short", "must have 32 characters or more"),
    ],
)
def test_weak_keys_are_refused_where_deployed_only(
    deploy: Variables, mistakes: Mistakes, name: str, value: str, reason: str
) -> None:
    deploy(**{name: value})
    assert f"{name}: {reason}" in mistakes()
    deploy(**{name: value, "ENVIRONMENT": "test"})
    load_settings(PlatformSettings)


def test_secret_keys_begin_with_the_one_in_use(set_variables: Variables) -> None:
    set_variables(SECRET_KEY="new" * 16, SECRET_KEY_FALLBACKS=f"{'old' * 16}, {'older' * 10}")
    keys = load_settings(PlatformSettings).secret_keys
    assert keys == ("new" * 16, "old" * 16, "older" * 10)


def test_keys_do_not_show_in_the_representation(set_variables: Variables) -> None:
    set_variables(SECRET_KEY="hunter2" * 8, SECRET_KEY_FALLBACKS="hunter3" * 8)
    settings = load_settings(PlatformSettings)
    assert "hunter" not in f"{settings!r} {settings.model_dump()}"
