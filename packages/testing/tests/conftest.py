"""The tests of the fixtures use the platform's sample service, `shop`."""

import sys
from pathlib import Path

import pytest

SAMPLE = Path(__file__).parents[2] / "platform" / "tests" / "sample"

sys.path.insert(0, str(SAMPLE))


@pytest.fixture(scope="session")
def service() -> str:
    return "shop"
