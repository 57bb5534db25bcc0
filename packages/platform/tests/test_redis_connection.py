"""The address in REDIS_URL comes to mean another server; the old one goes on as a replica.

Connections to the old one stay open. It follows nobody, as one whose network is cut: what is
written to the new primary never arrives there.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from pydantic import SecretStr
from redis import Redis
from redis.exceptions import RedisError, ResponseError

from service_platform.events.consumer_group import ConsumerGroup
from service_platform.events.stream import connect
from service_platform.identity.principal import Principal
from service_platform.identity.revocation import STREAM, Revocation
from service_platform.identity.revocation_list import VerifiedToken
from service_platform.identity.revocation_subscriber import RevocationSubscriber
from service_platform.ratelimit import Limiter, Policy, RateLimitCaller, RedisStore
from service_platform.redis_client import RedisClient
from service_platform.redis_connection import UnsupportedRedisError, error_code, is_wrong_server
from service_platform.resources import HealthCheckError, Resource, StartError
from service_platform.settings import PlatformSettings
from service_testing.ports import free_port
from service_testing.services import RunningService
from service_testing.tcp_proxy import TcpProxy
from service_testing.valkey import LocalValkey

WITHIN_SECONDS = 5.0
SESSION = UUID(int=7)


@pytest.mark.parametrize(
    ("text", "code", "wrong"),
    [
        ("READONLY You can't write against a read only replica.", "READONLY", True),
        ("LOADING Valkey is loading the dataset in memory", "LOADING", True),
        ("MOVED 3999 127.0.0.1:6381", "MOVED", True),
        ("UNBLOCKED force unblock from blocking operation", "UNBLOCKED", True),
        ("Error running script: READONLY You can't write against a replica.", "", True),
        ("WRONGTYPE Operation against a key", "WRONGTYPE", False),
        ("ERR unknown command", "ERR", False),
        ("Connection closed by server.", "", False),
        ("", "", False),
    ],
)
def test_errors_of_a_server_tell_whether_it_is_the_wrong_one(
    text: str, code: str, wrong: bool
) -> None:
    error = ResponseError(text)
    assert (error_code(error), is_wrong_server(error)) == (code, wrong)


@pytest.fixture
def new_primary(tmp_path: Path) -> Iterator[LocalValkey]:
    server = LocalValkey(tmp_path / "new-primary", durable=False)
    server.start()
    yield server
    server.remove()


@pytest.fixture
async def proxy(own_redis: LocalValkey) -> AsyncIterator[TcpProxy]:
    async with TcpProxy(own_redis.port) as opened:
        yield opened


@pytest.fixture
def settings(proxy: TcpProxy) -> PlatformSettings:
    return PlatformSettings(
        _env_file=None, environment="test", redis_url=SecretStr(f"redis://127.0.0.1:{proxy.port}/0")
    )


@pytest.fixture
def fail_over(
    own_redis: LocalValkey, new_primary: LocalValkey, proxy: TcpProxy
) -> Callable[[], None]:
    """Makes the old primary a replica without a link, and the address mean the new primary."""

    def move() -> None:
        demote(own_redis)
        proxy.target = new_primary.port

    return move


def demote(server: LocalValkey) -> None:
    with Redis.from_url(server.url) as client:
        client.execute_command("REPLICAOF", "127.0.0.1", free_port())


async def within(seconds: float, holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(seconds):
        while True:
            if await holds():
                return
            await asyncio.sleep(0.02)


async def is_healthy(resource: Resource) -> bool:
    try:
        await resource.check()
    except HealthCheckError:
        return False
    return True


async def test_after_one_refused_write_every_connection_leaves_the_old_primary(
    settings: PlatformSettings, fail_over: Callable[[], None], new_primary: LocalValkey
) -> None:
    redis = RedisClient(settings)
    await asyncio.gather(*(redis.client.set(f"before:{n}", "x") for n in range(16)))
    fail_over()
    with pytest.raises(RedisError) as raised:
        await redis.client.set("refused", "x")
    assert is_wrong_server(raised.value)
    await asyncio.gather(*(redis.client.set(f"after:{n}", "x") for n in range(16)))
    await redis.stop()
    with Redis.from_url(new_primary.url) as client:
        assert client.dbsize() == 16


@pytest.mark.parametrize("transaction", [True, False])
async def test_a_refused_pipeline_leaves_the_old_primary_too(
    settings: PlatformSettings, fail_over: Callable[[], None], transaction: bool
) -> None:
    redis = RedisClient(settings)
    await redis.client.ping()
    fail_over()
    pipeline: Any = redis.client.pipeline(transaction=transaction)
    with pytest.raises(RedisError):
        await pipeline.set("a", 1).set("b", 2).execute()
    assert await pipeline.set("a", 1).execute() == [True]
    await redis.stop()


async def test_health_tells_of_a_replica_until_there_is_a_primary(
    settings: PlatformSettings,
    own_redis: LocalValkey,
    new_primary: LocalValkey,
    proxy: TcpProxy,
) -> None:
    redis = RedisClient(settings)
    await redis.start()
    await redis.check()
    demote(own_redis)  # and the address does not yet mean another server
    await within(WITHIN_SECONDS, lambda: _is_read_only(redis))
    await asyncio.sleep(0.2)
    assert await _is_read_only(redis)
    proxy.target = new_primary.port
    await within(WITHIN_SECONDS, lambda: is_healthy(redis))
    await redis.client.set("key", "value")
    await redis.stop()


async def _is_read_only(redis: RedisClient) -> bool:
    try:
        await redis.check()
    except HealthCheckError as error:
        return error.reason == "redis_read_only"
    return False


async def test_revocations_arrive_from_the_new_primary(
    settings: PlatformSettings,
    own_redis: LocalValkey,
    new_primary: LocalValkey,
    proxy: TcpProxy,
) -> None:
    revocations = RevocationSubscriber(settings)
    await revocations.start()
    await revocations.check()
    demote(own_redis)
    await within(WITHIN_SECONDS, lambda: _not(is_healthy(revocations)))
    proxy.target = new_primary.port
    until = int(time.time()) + 600
    with Redis.from_url(new_primary.url) as client:
        fields: Any = Revocation("session", SESSION, int(time.time() * 1000), until).to_fields()
        client.xadd(STREAM, fields)

    async def refused() -> bool:
        return revocations.is_revoked(_verified_token())

    await within(WITHIN_SECONDS, refused)
    await within(WITHIN_SECONDS, lambda: is_healthy(revocations))
    await revocations.stop()


async def _not(answer: Awaitable[bool]) -> bool:
    return not await answer


def _verified_token() -> VerifiedToken:
    principal = Principal(
        subject=UUID(int=1),
        client_id="test",
        scopes=frozenset(),
        roles=frozenset(),
        session_id=SESSION,
        token_id=str(UUID(int=2)),
        expires_at=int(time.time()) + 600,
    )
    return VerifiedToken.of(principal)


async def test_events_are_read_from_the_new_primary(
    settings: PlatformSettings, fail_over: Callable[[], None], new_primary: LocalValkey
) -> None:
    group = ConsumerGroup(connect(settings), "auth", "users", "one")
    blocking = connect(settings, block=True)
    await group.create()
    assert await group.read(blocking, 1) == []
    fail_over()
    with Redis.from_url(new_primary.url) as client:
        client.xadd("events:{auth}", {"event": "{}"})

    async def arrived() -> bool:
        try:
            await group.create()
            return bool(await group.read(blocking, 1))
        except RedisError:
            return False

    await within(WITHIN_SECONDS, arrived)
    await blocking.aclose()
    await group.client.aclose()


async def test_limits_are_counted_by_the_new_primary(
    settings: PlatformSettings, fail_over: Callable[[], None], new_primary: LocalValkey
) -> None:
    limiter = Limiter(RedisStore(settings.redis_url, service="x", timeout=0.5))
    policies = (Policy.parse("100/minute", name="some", by="address"),)
    await limiter.start()
    fail_over()

    async def counted() -> bool:
        await limiter.hit(RateLimitCaller("192.0.2.1"), policies)
        with Redis.from_url(new_primary.url) as client:
            return bool(client.keys("rl:*some*"))

    await within(WITHIN_SECONDS, counted)
    await limiter.stop()


class ClusterNode(LocalValkey):
    """A Valkey in cluster mode."""

    def _command(self) -> list[str]:
        ports = ["--cluster-port", str(free_port())]
        return [*super()._command(), "--cluster-enabled", "yes", *ports]


class Sentinel(LocalValkey):
    """A Sentinel that watches nothing."""

    def _command(self) -> list[str]:
        return [*super()._command(), "--sentinel"]


@pytest.mark.parametrize(
    ("kind", "words"), [(ClusterNode, "a node of a Redis Cluster"), (Sentinel, "a Sentinel")]
)
async def test_a_cluster_or_a_sentinel_ends_the_start_with_one_sentence(
    kind: type[LocalValkey], words: str, tmp_path: Path
) -> None:
    server = kind(tmp_path / "server", durable=False)
    server.start()
    told = PlatformSettings(
        _env_file=None, environment="test", redis_url=SecretStr(server.url_for(0))
    )
    redis, revocations = RedisClient(told), RevocationSubscriber(told)
    try:
        for resource in (redis, revocations):
            with pytest.raises(
                StartError, match=f"REDIS_URL leads to {words}, .*; give (the|an) address"
            ):
                await resource.start()
        with pytest.raises(UnsupportedRedisError, match=words):
            await redis.client.get("key")
    finally:
        await revocations.stop()
        server.remove()


def test_a_process_that_meets_a_cluster_ends_with_the_status_of_a_wrong_setting(
    running_service: Callable[..., RunningService], tmp_path: Path
) -> None:
    server = ClusterNode(tmp_path / "server", durable=False)
    server.start()
    try:
        process = running_service(wait=False, REDIS_URL=server.url).process
        assert process is not None
        assert process.wait(20) == 78
    finally:
        server.remove()
    (log,) = tmp_path.glob("shop-*.log")
    said = log.read_text()
    assert said.count("REDIS_URL leads to a node of a Redis Cluster") == 1
    assert "Traceback" not in said


async def test_a_limiter_refuses_a_sentinel(tmp_path: Path) -> None:
    server = Sentinel(tmp_path / "server", durable=False)
    server.start()
    try:
        with pytest.raises(StartError, match="a Sentinel"):
            await RedisStore(SecretStr(server.url), service="x", timeout=0.5).start()
    finally:
        server.remove()


async def test_asking_for_the_role_costs_at_most_one_question_a_second(
    settings: PlatformSettings, own_redis: LocalValkey
) -> None:
    redis = RedisClient(settings)
    await redis.client.ping()
    with Redis.from_url(own_redis.url) as client:
        client.config_resetstat()
        for _ in range(200):
            await redis.client.get("key")
        asked = client.info("commandstats").get("cmdstat_hello", {"calls": 0})["calls"]
    assert asked <= 3
    await redis.stop()
