"""The database with and without acceleration."""

from collections.abc import AsyncIterator

import pytest

from service_platform.database import Database
from service_platform.settings import PlatformSettings


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
