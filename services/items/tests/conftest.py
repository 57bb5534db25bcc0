"""The tests of items; fixtures come from the platform's pytest plugin.

Each test uses accounts of its own, so the tests of a file share one application.
"""

import pytest

from service_testing.once_a_file import app, client, database_url, redis_url, service_environment

__all__ = ["app", "client", "database_url", "redis_url", "service", "service_environment"]


@pytest.fixture(scope="session")
def service() -> str:
    return "items"
