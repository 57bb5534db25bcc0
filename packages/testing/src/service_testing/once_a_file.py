"""The fixtures of the plugin for files whose tests share one started application.

An application takes more to start than most tests take. Where each test uses accounts of its own,
and so meets nothing of the others, the `conftest.py` of a service lets all tests of a file share
one, with its database and its Redis:

    from service_testing.once_a_file import (
        app, client, database_url, redis_url, service_environment,
    )

    __all__ = ["app", "client", "database_url", "redis_url", "service_environment"]

`database`, `sql_log`, `make_client` and `running_service` are then about the same database. What a
test has to have for itself, it starts by `make_client` or `own_redis`.
"""

# ruff: noqa: ARG001, PLC0415
# As in the plugin: a fixture asks for another one for its effect, and imports what it needs itself.

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from fastapi import FastAPI
    from httpx2 import AsyncClient

    from service_testing.databases import TestDatabases
    from service_testing.tokens import TestTokens


@pytest.fixture(scope="module")
def redis_url(_redis_connection: Any) -> str:
    """Address of a Redis database that no other file uses at the same time, empty at first."""
    connection, url = _redis_connection
    connection.flushdb()
    return str(url)


@pytest.fixture(scope="module")
def database_url(databases: "TestDatabases", service: str) -> Iterator[str]:
    """Address of a migrated database for this file alone, empty at first."""
    url = databases.create(service)
    yield url
    databases.drop(url)


@pytest.fixture(scope="module")
def service_environment(
    service: str,
    database_url: str,
    redis_url: str,
    tokens: "TestTokens",
    service_settings: dict[str, str],
) -> Iterator[dict[str, str]]:
    """The variables of the service under test; they are also set in this process."""
    from service_testing.services import environment_of, without_env_file

    environment = environment_of(
        service, database_url=database_url, redis_url=redis_url, auth_url=tokens.auth_url
    )
    environment |= service_settings
    with pytest.MonkeyPatch.context() as patch:
        without_env_file(patch)
        for name, value in environment.items():
            patch.setenv(name, value)
        yield environment


@pytest.fixture(scope="module")
async def app(service: str, service_environment: dict[str, str]) -> "AsyncIterator[FastAPI]":
    """The service's application, started."""
    from service_testing.services import application, started

    async with started(application(service)) as running:
        yield running


@pytest.fixture(scope="module")
async def client(app: "FastAPI") -> "AsyncIterator[AsyncClient]":
    """An HTTP client of the application, without a token."""
    from service_testing.services import client_of

    async with client_of(app) as opened:
        yield opened
