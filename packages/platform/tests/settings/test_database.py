"""Settings of PostgreSQL: an address with a database, encrypted where deployed."""

from collections.abc import Callable

import pytest
from pydantic import SecretStr

from service_platform.settings import PlatformSettings, is_encrypted, load_settings

Variables = Callable[..., None]
Mistakes = Callable[[], str]


@pytest.mark.parametrize(
    ("url", "encrypted"),
    [
        ("postgresql://db/x?sslmode=require", True),
        ("postgresql://db/x?ssl=verify-full", True),
        ("postgresql:///x?host=/run/postgresql", True),
        ("postgresql://db/x", False),
        ("postgresql://db/x?sslmode=disable", False),
        ("postgresql://db/x?sslmode=require&sslmode=disable", False),
    ],
)
def test_what_counts_as_encrypted(
    deploy: Variables, mistakes: Mistakes, url: str, encrypted: bool
) -> None:
    assert is_encrypted(SecretStr(url)) is encrypted
    deploy(DATABASE_URL=url)
    if encrypted:
        assert load_settings(PlatformSettings).database_url.get_secret_value() == url
    else:
        assert "DATABASE_ALLOW_UNENCRYPTED: is false, so DATABASE_URL needs" in mistakes()


def test_an_unencrypted_database_can_be_allowed(deploy: Variables) -> None:
    deploy(DATABASE_URL="postgresql://users:pw@db/users", DATABASE_ALLOW_UNENCRYPTED="true")
    assert load_settings(PlatformSettings).database_allow_unencrypted


def test_an_address_names_its_database(set_variables: Variables, mistakes: Mistakes) -> None:
    set_variables(DATABASE_URL="postgresql://users:hunter2@db")
    assert "DATABASE_URL: must name a database" in mistakes()


def test_secrets_do_not_show_in_the_representation() -> None:
    settings = PlatformSettings(database_url=SecretStr("postgresql://users:hunter2@db/users"))
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in str(settings.model_dump())
