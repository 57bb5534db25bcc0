"""Settings that would make auth unsafe are refused where it is deployed."""

from typing import Any

import pytest
from pydantic import ValidationError

from auth.settings import AuthSettings

DEPLOYED = {
    "environment": "production",
    "secret_key": "k" * 48,
    "database_url": "postgresql://a:b@db/auth?sslmode=verify-full",
    "jwt_issuer": "https://auth.example.com",
}


def settings(**values: Any) -> AuthSettings:
    return AuthSettings(_env_file=None, **values)


def test_a_deployment_with_the_defaults_is_accepted() -> None:
    made = settings(**DEPLOYED)
    assert (made.password_hash_memory_kib, made.password_hash_time_cost) == (19_456, 2)


@pytest.mark.parametrize(
    "weak", [{"password_hash_memory_kib": 19_455}, {"password_hash_time_cost": 1}]
)
@pytest.mark.parametrize("environment", ["staging", "production"])
def test_cheap_password_hashes_are_for_tests(weak: dict[str, int], environment: str) -> None:
    settings(environment="test", **weak)
    with pytest.raises(ValidationError, match="in staging and production"):
        settings(**DEPLOYED | {"environment": environment} | weak)


def test_a_key_cannot_sign_before_services_have_it() -> None:
    with pytest.raises(ValidationError, match="services must have the key"):
        settings(jwks_max_age_seconds=300, signing_key_publish_seconds=300)


def test_auth_must_accept_its_own_tokens() -> None:
    with pytest.raises(ValidationError, match="must include auth"):
        settings(token_audiences=["users"])
