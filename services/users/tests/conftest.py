"""The tests of users; fixtures come from the platform's pytest plugin."""

import pytest


@pytest.fixture(scope="session")
def service() -> str:
    return "users"
