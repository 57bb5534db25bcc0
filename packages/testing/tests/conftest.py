"""The tests of the fixtures use the platform's sample service, `shop`."""

import sys
from pathlib import Path

import pytest

from service_testing.postgres import LocalPostgres

SAMPLE = Path(__file__).parents[2] / "platform" / "tests" / "sample"

sys.path.insert(0, str(SAMPLE))


@pytest.fixture(scope="session")
def service() -> str:
    return "shop"


@pytest.fixture
def initialised(blank_postgres: Path, tmp_path: Path) -> Path:
    """A folder in which a PostgreSQL has only to start."""
    LocalPostgres(tmp_path / "data", copy_of=blank_postgres).initialise()
    return tmp_path
