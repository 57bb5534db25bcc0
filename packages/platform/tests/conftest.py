"""The platform's tests bring a small service of their own, `shop`, in the folder `sample`."""

import sys
from pathlib import Path

import pytest

SAMPLE = Path(__file__).parent / "sample"

sys.path.insert(0, str(SAMPLE))


@pytest.fixture(scope="session")
def service() -> str:
    return "shop"
