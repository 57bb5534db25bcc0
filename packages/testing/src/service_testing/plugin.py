"""The pytest plugin: a service's tests get their own database, Redis, clients and signed tokens.

It is active wherever `service-testing` is installed. A service's whole `conftest.py`:

    import pytest

    @pytest.fixture(scope="session")
    def service() -> str:
        return "orders"         # import name: `orders.app:create_app`, `orders.migrations`

and a test:

    async def test_an_order_of_another_account_is_not_found(client, tokens):
        mine = await client.post("/api/v1/orders", json={"name": "a"}, headers=tokens.headers())
        other = await client.get(mine.headers["location"], headers=tokens.headers())
        assert other.status_code == 404

| fixture | what it is |
|---|---|
| `client` | HTTP client of the started application, in this process |
| `app` | that application |
| `make_client` | `async with make_client(RATE_LIMIT_REQUESTS="2") as client`: with other settings |
| `tokens` | `tokens.headers(subject, scopes=[...], roles=["admin"])`, `tokens.issue(...)` |
| `database` | the service's `Database`, for tests below HTTP and for looking at rows |
| `database_url` | address of an empty, migrated database of this test alone |
| `sql_log` | `sql_log.clear()`, `sql_log.statements()`: what its PostgreSQL was told to do |
| `redis_url` | address of an empty Redis database of this test alone |
| `service_environment` | the variables that make a service use all of these |
| `service_settings` | further variables of the service under test, none unless overridden |
| `running_service` | `running_service()`: a real process; `running_service("users", PORT=...)` |
| `databases` | `databases.create("users")`: databases of other services |
| `own_postgres`, `own_redis` | servers for this test alone, to be killed and restarted |
| `blank_postgres` | an initialised directory, for further servers |

A service whose tests use accounts of their own can let those of a file share one application: see
`once_a_file`.

The servers behind them are started once a run, when first needed, and shared by the processes of
pytest-xdist; databases are copies of one that was migrated once. Nothing is left behind, not even
when pytest is killed.
"""

# ruff: noqa: ARG001, PLC0415
# A fixture asks for another one for its effect; and it imports what it needs itself: pytest loads
# this module in every run, also for tests that need none of it and before coverage is measured.

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from service_testing import programs
from service_testing.postgres import LocalPostgres
from service_testing.run import REDIS_DATABASES, ServersOfRun
from service_testing.valkey import LocalValkey

if TYPE_CHECKING:
    from fastapi import FastAPI
    from httpx2 import AsyncClient

    from service_platform.database import Database
    from service_testing.databases import TestDatabases
    from service_testing.services import RunningService
    from service_testing.sql_log import SqlLog
    from service_testing.tokens import TestTokens

SERVERS = pytest.StashKey[ServersOfRun]()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Hands the run's servers to a worker of pytest-xdist."""
    node.workerinput["service_platform_servers"] = servers_of(node.config).shared()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Ends the run's servers, and what this process has started beside them."""
    programs.end()
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
def _worker(pytestconfig: pytest.Config) -> str:
    """Name of this test process."""
    name: str = getattr(pytestconfig, "workerinput", {}).get("workerid", "gw0")
    return name


@pytest.fixture(scope="session")
def _redis_connection(redis_server: LocalValkey, _worker: str) -> Iterator[Any]:
    import redis

    database = int(_worker.removeprefix("gw")) % REDIS_DATABASES
    with redis.Redis.from_url(redis_server.url_for(database)) as connection:
        yield connection, redis_server.url_for(database)


@pytest.fixture
def redis_url(_redis_connection: Any) -> str:
    """Address of an empty Redis database that no other test uses at the same time."""
    connection, url = _redis_connection
    connection.flushdb()
    return str(url)


@pytest.fixture(scope="session")
def blank_postgres(pytestconfig: pytest.Config) -> Path:
    """The directory of an initialised PostgreSQL, for `LocalPostgres(copy_of=...)`."""
    return servers_of(pytestconfig).blank_postgres


@pytest.fixture
def own_postgres(blank_postgres: Path, tmp_path: Path) -> Iterator[LocalPostgres]:
    """A PostgreSQL for one test alone, which it may stop, kill and restart."""
    server = LocalPostgres(tmp_path / "postgres", durable=False, copy_of=blank_postgres)
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


@pytest.fixture(scope="session")
def service() -> str:
    """Import name of the service under test; each service's conftest.py says it."""
    raise LookupError("Define a session fixture `service` in conftest.py that returns its name.")


@pytest.fixture(scope="session")
def service_settings() -> dict[str, str]:
    """Further variables of the service under test."""
    return {}


@pytest.fixture(scope="session")
def databases(
    pytestconfig: pytest.Config, postgres_server: LocalPostgres, _worker: str
) -> "TestDatabases":
    """Makes migrated databases: `databases.create("users")`."""
    from service_testing.databases import TestDatabases

    return TestDatabases(postgres_server, servers_of(pytestconfig).directory, _worker)


@pytest.fixture
def database_url(databases: "TestDatabases", service: str) -> Iterator[str]:
    """Address of a migrated database with nothing in it, for this test alone."""
    url = databases.create(service)
    yield url
    databases.drop(url)


@pytest.fixture
def sql_log(database_url: str, postgres_server: LocalPostgres) -> "SqlLog":
    """The statements this test's database was told to run."""
    from service_testing.sql_log import SqlLog

    return SqlLog(postgres_server.log_file, database_url.rpartition("/")[2])


@pytest.fixture(scope="session")
def tokens() -> "Iterator[TestTokens]":
    """Signs access tokens and publishes the keys where the service looks for auth's."""
    from service_testing.tokens import TestTokens

    issuer = TestTokens()
    yield issuer
    issuer.stop()


@pytest.fixture
def service_environment(  # noqa: PLR0917
    service: str,
    database_url: str,
    redis_url: str,
    tokens: "TestTokens",
    service_settings: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> dict[str, str]:
    """The variables of the service under test; they are also set in this process."""
    from service_testing.services import environment_of, without_env_file

    without_env_file(monkeypatch)
    environment = environment_of(
        service, database_url=database_url, redis_url=redis_url, auth_url=tokens.auth_url
    )
    environment |= service_settings
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return environment


@pytest.fixture
async def app(service: str, service_environment: dict[str, str]) -> "AsyncIterator[FastAPI]":
    """The service's application, started."""
    from service_testing.services import application, started

    async with started(application(service)) as running:
        yield running


@pytest.fixture
async def client(app: "FastAPI") -> "AsyncIterator[AsyncClient]":
    """An HTTP client of the application, without a token."""
    from service_testing.services import client_of

    async with client_of(app) as opened:
        yield opened


@pytest.fixture
def make_client(
    service: str, service_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> "Callable[..., AbstractAsyncContextManager[AsyncClient]]":
    """Starts an application with further settings and yields its client."""
    from service_testing.services import (
        application,
        client_of,
        started,
    )

    @asynccontextmanager
    async def make(**settings: str) -> "AsyncIterator[AsyncClient]":
        with monkeypatch.context() as patch:
            for name, value in settings.items():
                patch.setenv(name, value)
            made = application(service)
        async with started(made) as running, client_of(running) as opened:
            yield opened

    return make


@pytest.fixture
async def database(service: str, service_environment: dict[str, str]) -> "AsyncIterator[Database]":
    """The database of this test, for looking at rows and for tests below HTTP."""
    from service_platform.database import Database
    from service_platform.settings import PlatformSettings

    resource = Database(PlatformSettings(), migrations=f"{service}.migrations")
    await resource.start()
    yield resource
    await resource.stop()


@pytest.fixture
def running_service(
    service: str, service_environment: dict[str, str], tmp_path: Path
) -> "Iterator[Callable[..., RunningService]]":
    """Starts real processes: `running_service()`, `running_service("users", REDIS_URL=...)`."""
    from service_testing.services import RunningService

    running: list[RunningService] = []

    def start(
        name: str = service, *arguments: str, wait: bool = True, **settings: str
    ) -> RunningService:
        made = RunningService(name, {**service_environment, **settings}, tmp_path, arguments)
        running.append(made)
        return made.start(wait=wait)

    yield start
    for each in running:
        each.stop()
