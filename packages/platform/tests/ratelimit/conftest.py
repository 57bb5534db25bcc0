"""The slow model the limiter is compared with, and a Redis that no other test speaks to.

These tests count the server's commands and flush its scripts, which concern the whole server.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from service_testing.valkey import LocalValkey

sys.path.insert(0, str(Path(__file__).parent / "reference"))


@pytest.fixture(scope="session")
def limiter_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalValkey]:
    """A server for the limiter's tests of this process alone."""
    server = LocalValkey(tmp_path_factory.mktemp("limiter") / "valkey", durable=False)
    server.start()
    yield server
    server.remove()


@pytest.fixture
def redis_url(limiter_redis: LocalValkey) -> str:
    """Address of the empty server."""
    with Redis.from_url(limiter_redis.url) as client:
        client.flushall()
    return limiter_redis.url


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    """A plain client for looking at what the limiter did."""
    with Redis.from_url(redis_url) as client:
        yield client
