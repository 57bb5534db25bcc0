"""The database with and without acceleration, and databases that were never migrated."""

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import growing_service
import pytest
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from service_platform.database import Database
from service_platform.settings import PlatformSettings
from service_testing.databases import TestDatabases


@pytest.fixture(params=[True, False], ids=["accelerated", "plain"])
def acceleration(request: pytest.FixtureRequest) -> bool:
    """Whether the reader of the test's database is the accelerated one."""
    return bool(request.param)


@pytest.fixture
async def either_database(
    service_environment: dict[str, str], acceleration: bool
) -> AsyncIterator[Database]:
    """The test's database, with the reader of `acceleration`."""
    settings = PlatformSettings(acceleration=acceleration)
    database = Database(settings, migrations="shop.migrations")
    await database.start()
    yield database
    await database.stop()


@pytest.fixture
def empty_url(databases: TestDatabases) -> Iterator[str]:
    """A database that was never migrated, owned by a role that owns nothing else."""
    url = databases.create_empty("shop")
    yield url
    databases.drop(url)


@pytest.fixture
def empty_settings(empty_url: str) -> PlatformSettings:
    return PlatformSettings(_env_file=None, environment="test", database_url=empty_url)


@pytest.fixture
async def connection(empty_url: str) -> AsyncIterator[AsyncConnection]:
    """A connection to the empty database."""
    url = empty_url.replace("postgresql://", "postgresql+asyncpg://")
    engine = create_async_engine(url, poolclass=NullPool)
    async with engine.connect() as opened:
        yield opened
    await engine.dispose()


@pytest.fixture
def growing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A service `growing` whose migrations a test writes itself; returns the folder for them."""
    versions = growing_service.make(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield versions
    for name in [name for name in sys.modules if name.partition(".")[0] == "growing"]:
        del sys.modules[name]
