"""The slow model the limiter is compared with, and a Redis whose clock a test sets."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

sys.path.insert(0, str(Path(__file__).parent / "reference"))


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    """A plain client for looking at what the limiter did."""
    with Redis.from_url(redis_url) as client:
        yield client
