"""The root `conftest.py` of the copy in which a recipe is tried.

Its tests use the PostgreSQL and Valkey of the run that tries the recipe, and the databases that the
recipe's own commands have migrated.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from service_testing.databases import TestDatabases
from service_testing.plugin import SERVERS, servers_of
from service_testing.postgres import LocalPostgres
from service_testing.run import ServersOfRun


def pytest_configure(config: pytest.Config) -> None:
    """Takes the servers of the other run instead of starting some."""
    config.stash[SERVERS] = ServersOfRun.of_controller(json.loads(os.environ["RECIPE_SERVERS"]))


@pytest.fixture(scope="session")
def _worker() -> str:
    """Begins the names of further databases; no other test process has it."""
    return f"recipe{os.getpid()}"


class RecipeDatabases(TestDatabases):
    """Gives the databases that the recipe has migrated before it makes others."""

    def __init__(self, server: LocalPostgres, directory: Path, worker: str) -> None:
        super().__init__(server, directory, worker)
        self._migrated: dict[str, str] = json.loads(os.environ["RECIPE_DATABASES"])
        self._in_use: set[str] = set()

    def create(self, service: str) -> str:
        """Address of a migrated database of a service."""
        url = self._migrated.get(service)
        if url is None or url in self._in_use:
            return super().create(service)
        self._in_use.add(url)
        return url

    def drop(self, url: str) -> None:
        """Leaves the recipe's own to what follows in it."""
        if url in self._in_use:
            self._in_use.remove(url)
        else:
            super().drop(url)


@pytest.fixture(scope="session")
def databases(
    pytestconfig: pytest.Config, postgres_server: LocalPostgres, _worker: str
) -> TestDatabases:
    return RecipeDatabases(postgres_server, servers_of(pytestconfig).directory, _worker)


@pytest.fixture(scope="session")
def _redis_connection() -> Iterator[tuple[redis.Redis, str]]:
    """The Redis database of the test that tries the recipe."""
    url = os.environ["RECIPE_REDIS_URL"]
    with redis.Redis.from_url(url) as connection:
        yield connection, url
