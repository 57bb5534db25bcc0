"""Routes that can be guessed at have limits of their own, and stricter ones while Redis is away."""

import pytest
from services.auth.tests.own_application import (
    app,
    client,
    database_url,
    redis_url,
    service_environment,
)

from auth import oauth_routes, routes
from service_platform.ratelimit import declared_policies

__all__ = ["app", "client", "database_url", "redis_url", "service_environment"]


@pytest.mark.parametrize(
    "endpoint", [routes.register, routes.change_password, oauth_routes.issue_token]
)
def test_it_falls_back_to_a_stricter_local_limit(endpoint: object) -> None:
    (policy,) = declared_policies(endpoint)  # type: ignore[arg-type]
    assert policy.fallback is not None
    assert policy.fallback.quota < policy.rate.quota
