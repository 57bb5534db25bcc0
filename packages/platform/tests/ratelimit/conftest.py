"""Servers of Redis that no other tests use, one alone and three in a cluster.

These tests count the commands of a server and flush its scripts, which affects the whole server.
"""

import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from redis import Redis

from service_platform.ratelimit import Limiter, RedisStore
from service_testing.valkey import LocalValkey

sys.path.insert(0, str(Path(__file__).parent / "support"))

from cluster_nodes import SLOTS, ClusterNode


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


@pytest.fixture(scope="package")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[ClusterNode]]:
    """Three primaries of a cluster, each with a third of the hash slots."""
    root: Path = tmp_path_factory.mktemp("cluster")
    found = [ClusterNode(root / f"node{number}", durable=False) for number in range(3)]
    try:
        for number, node in enumerate(found):
            node.start()
            first, last = SLOTS * number // 3, SLOTS * (number + 1) // 3 - 1
            node.ask("CLUSTER", "ADDSLOTSRANGE", first, last)
        for node in found[1:]:
            node.ask("CLUSTER", "MEET", "127.0.0.1", found[0].port, found[0].bus_port)
        deadline = time.monotonic() + 20
        while not all(node.is_ready() for node in found):
            assert time.monotonic() < deadline, "the nodes did not meet"
            time.sleep(0.02)
        yield found
    finally:
        for node in found:
            node.remove()


@pytest.fixture
async def cluster_limiter(nodes: list[ClusterNode]) -> AsyncIterator[Limiter]:
    """A limiter on the cluster, whose nodes are empty."""
    for node in nodes:
        node.ask("FLUSHALL")
    limiter = Limiter(RedisStore(SecretStr(nodes[0].url), service="x", timeout=2.0))
    await limiter.start()
    for node in nodes:
        node.ask("CONFIG", "RESETSTAT")
    yield limiter
    await limiter.stop()
