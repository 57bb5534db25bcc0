"""The root `conftest.py` of the copy in which a recipe is tried.

Its tests use the PostgreSQL and Valkey of the run that tries the recipe, and the databases that the
recipe's own commands have migrated.
"""

import json
import os

import pytest

from service_testing.plugin import SERVERS
from service_testing.run import ServersOfRun


def pytest_configure(config: pytest.Config) -> None:
    """Takes the servers of the other run instead of starting some."""
    config.stash[SERVERS] = ServersOfRun.of_controller(json.loads(os.environ["RECIPE_SERVERS"]))


@pytest.fixture(scope="session")
def _worker() -> str:
    """Begins the names of further databases; no other test process has it."""
    return f"recipe{os.getpid()}"


@pytest.fixture
def database_url(service: str) -> str:
    """Address of the database that the recipe has migrated."""
    url: str = json.loads(os.environ["RECIPE_DATABASES"])[service]
    return url


@pytest.fixture
def redis_url() -> str:
    """Address of the Redis database of the test that tries the recipe."""
    return os.environ["RECIPE_REDIS_URL"]
