"""pytest plugin of the platform."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from service_platform.testing.local_servers import LocalPostgres, LocalValkey
from service_platform.testing.run import REDIS_DATABASES, ServersOfRun

SERVERS = pytest.StashKey[ServersOfRun]()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Hands the run's servers to a worker of pytest-xdist."""
    node.workerinput["service_platform_servers"] = servers_of(node.config).shared()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Ends the run's servers."""
    if SERVERS in config.stash:
        config.stash[SERVERS].end()


def servers_of(config: pytest.Config) -> ServersOfRun:
    """Returns the servers of this run, of which nothing is started before it is needed."""
    if SERVERS not in config.stash:
        shared = getattr(config, "workerinput", {}).get("service_platform_servers")
        config.stash[SERVERS] = (
            ServersOfRun.of_controller(shared) if shared else ServersOfRun.begin()
        )
    return config.stash[SERVERS]


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Async tests run on asyncio, as the services do."""
    return "asyncio"


@pytest.fixture(scope="session")
def postgres_server(pytestconfig: pytest.Config) -> LocalPostgres:
    """The PostgreSQL of this run, shared by all tests: do not stop it."""
    return servers_of(pytestconfig).postgres


@pytest.fixture(scope="session")
def redis_server(pytestconfig: pytest.Config) -> LocalValkey:
    """The Valkey of this run, shared by all tests: do not stop it."""
    return servers_of(pytestconfig).redis


@pytest.fixture(scope="session")
def redis_database(pytestconfig: pytest.Config) -> int:
    """The numbered Redis database of this test process."""
    worker = getattr(pytestconfig, "workerinput", {}).get("workerid", "gw0")
    return int(worker.removeprefix("gw")) % REDIS_DATABASES


@pytest.fixture(scope="session")
def _redis_connection(redis_server: LocalValkey, redis_database: int) -> Iterator[Any]:
    with redis.Redis.from_url(redis_server.url_for(redis_database)) as connection:
        yield connection


@pytest.fixture
def redis_url(_redis_connection: Any, redis_server: LocalValkey, redis_database: int) -> str:
    """Address of an empty Redis database that no other test uses at the same time."""
    _redis_connection.flushdb()
    return redis_server.url_for(redis_database)


@pytest.fixture
def own_postgres(tmp_path: Path) -> Iterator[LocalPostgres]:
    """A PostgreSQL for one test alone, which it may stop, kill and restart."""
    server = LocalPostgres(tmp_path / "postgres", durable=False)
    server.start()
    yield server
    server.remove()


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[LocalValkey]:
    """A Valkey for one test alone, which it may stop, kill and restart."""
    server = LocalValkey(tmp_path / "valkey", durable=False)
    server.start()
    yield server
    server.remove()
