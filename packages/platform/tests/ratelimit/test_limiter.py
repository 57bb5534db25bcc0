import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from patience import eventually
from prometheus_client import REGISTRY
from pydantic import SecretStr
from redis import Redis

from service_platform.ratelimit import Decision, Limiter, Policy, RateLimitCaller, RedisStore
from service_platform.resources import HealthCheckError, Resource
from service_platform.settings import PlatformSettings
from service_testing.ports import free_port
from service_testing.valkey import LocalValkey

ONE = (Policy.parse("5/minute", name="one", by="address"),)
TWO = (*ONE, Policy.parse("100/hour", name="two", by="account"))
SOMEBODY = RateLimitCaller("192.0.2.7")

MakeLimiter = Callable[..., Awaitable[Limiter]]


@asynccontextmanager
async def running(limiter: Limiter) -> AsyncIterator[Limiter]:
    await limiter.start()
    try:
        yield limiter
    finally:
        await limiter.stop()


def on_redis(url: str, *, service: str = "items", **options: Any) -> Limiter:
    return Limiter(RedisStore(SecretStr(url), service=service, timeout=2.0), **options)


def count(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def calls(redis: Redis, command: str) -> int:
    return int(redis.info("commandstats").get(f"cmdstat_{command}", {}).get("calls", 0))


async def test_the_limiter_is_a_resource() -> None:
    assert isinstance(Limiter(), Resource)


async def test_a_limiter_in_memory_decides_at_once() -> None:
    async with running(Limiter()) as limiter:
        for expected in [True] * 5 + [False]:
            decision = limiter.hit_nowait(SOMEBODY, ONE)
            assert isinstance(decision, Decision)
            assert decision.allowed is expected
        await limiter.check()


async def test_all_policies_of_all_requests_of_one_turn_are_one_call(
    redis_url: str, redis: Redis
) -> None:
    async with running(on_redis(redis_url)) as limiter:
        redis.config_resetstat()
        people = [RateLimitCaller(f"192.0.2.{number}") for number in range(40)]
        decisions = await asyncio.gather(*(limiter.hit(each, TWO) for each in people))
        assert all(decision.allowed for decision in decisions)
        assert calls(redis, "evalsha") == 1
        assert calls(redis, "eval") == 0
        assert calls(redis, "rpush") == 80


async def test_requests_of_one_caller_in_one_turn_are_decided_one_after_the_other(
    redis_url: str,
) -> None:
    async with running(on_redis(redis_url)) as limiter:
        decisions = await asyncio.gather(*(limiter.hit(SOMEBODY, TWO) for _ in range(9)))
        assert [decision.allowed for decision in decisions] == [True] * 5 + [False] * 4
        assert (await limiter.hit(RateLimitCaller("192.0.2.8"), TWO)).allowed


async def test_very_many_requests_of_one_turn_are_several_calls(
    redis_url: str, redis: Redis
) -> None:
    async with running(on_redis(redis_url)) as limiter:
        redis.config_resetstat()
        policy = (Policy.parse("300/minute", name="many", by="address"),)
        decisions = await asyncio.gather(*(limiter.hit(SOMEBODY, policy) for _ in range(400)))
        assert sum(decision.allowed for decision in decisions) == 300
        assert calls(redis, "evalsha") == 4


async def test_a_refused_caller_is_refused_from_memory_until_its_reset(
    redis_url: str, redis: Redis
) -> None:
    policy = (Policy.parse("3/second", name="short", by="address"),)
    async with running(on_redis(redis_url)) as limiter:
        await asyncio.gather(*(limiter.hit(SOMEBODY, policy) for _ in range(4)))
        redis.config_resetstat()
        refused = [limiter.hit_nowait(SOMEBODY, policy) for _ in range(50)]
        assert all(isinstance(each, Decision) and not each.allowed for each in refused)
        assert calls(redis, "evalsha") == 0
        last = refused[-1]
        assert isinstance(last, Decision)
        told = dict(last.headers)
        assert told[b"ratelimit"] == b'"short";r=0;t=1'
        assert told[b"retry-after"] == b"1"
        assert last.violated == ("short",)
        await asyncio.sleep(1.05)
        assert (await limiter.hit(SOMEBODY, policy)).allowed


async def test_a_remembered_refusal_holds_for_its_cost_its_quota_and_its_policy_alone(
    redis_url: str,
) -> None:
    tiered = Policy.parse("3/minute", name="t", by="address", tiers={"admin": "9/minute"})
    async with running(on_redis(redis_url)) as limiter:
        assert not (await limiter.hit(SOMEBODY, (tiered,), cost=4)).allowed
        assert not (await limiter.hit(SOMEBODY, (tiered,), cost=5)).allowed
        assert (await limiter.hit(SOMEBODY, (tiered,), cost=3)).allowed
        assert not (await limiter.hit(SOMEBODY, (tiered,))).allowed
        admin = RateLimitCaller("192.0.2.7", roles=frozenset({"admin"}))
        assert (await limiter.hit(admin, (tiered,), cost=6)).allowed
        assert (await limiter.hit(SOMEBODY, ONE)).allowed


async def test_a_remembered_refusal_is_none_for_the_same_count_in_shadow_mode(
    redis_url: str,
) -> None:
    enforced = Policy.parse("1/minute", name="twin", by="address")
    shadow = Policy.parse("1/minute", name="twin", by="address", shadow=True)
    async with running(on_redis(redis_url)) as limiter:
        await asyncio.gather(*(limiter.hit(SOMEBODY, (enforced,)) for _ in range(2)))
        decision = await limiter.hit(SOMEBODY, (shadow,))
        assert (decision.allowed, decision.shadowed) == (True, ("twin",))
        assert decision.backend.name == "redis"


async def test_a_lost_script_is_loaded_again(redis_url: str, redis: Redis) -> None:
    async with running(on_redis(redis_url)) as limiter:
        assert (await limiter.hit(SOMEBODY, ONE)).allowed
        redis.script_flush()
        redis.config_resetstat()
        decisions = await asyncio.gather(*(limiter.hit(SOMEBODY, ONE) for _ in range(9)))
        assert sum(decision.allowed for decision in decisions) == 4  # nothing was counted twice
        assert {decision.backend.name for decision in decisions} == {"redis"}
        assert (await limiter.hit(RateLimitCaller("192.0.2.8"), ONE)).allowed
        assert (calls(redis, "evalsha"), calls(redis, "eval")) == (2, 1)


async def test_services_that_share_a_redis_count_apart(redis_url: str) -> None:
    async with (
        running(on_redis(redis_url, service="items")) as items,
        running(on_redis(redis_url, service="Büro {users}")) as users,
    ):
        for _ in range(5):
            assert (await items.hit(SOMEBODY, ONE)).allowed
        assert not (await items.hit(SOMEBODY, ONE)).allowed
        assert (await users.hit(SOMEBODY, ONE)).allowed


async def test_keys_are_tagged_by_caller_and_hold_nothing_a_caller_wrote(
    redis_url: str, redis: Redis
) -> None:
    secret = "alice@example.com"
    by_key = Policy.parse("3/minute", name="logins", by="key")
    async with running(on_redis(redis_url)) as limiter:
        await limiter.hit(RateLimitCaller("2001:db8::1", key=secret), (*TWO, by_key))
    keys = sorted(
        key.decode() for key in cast("list[bytes]", redis.keys("rl:*")) if b"probe" not in key
    )
    assert keys[0].startswith("rl:{items:i:2001:db8::/64}:one:")
    assert keys[1].startswith("rl:{items:i:2001:db8::/64}:two:")
    assert keys[2].startswith("rl:{items:k:")
    assert secret not in "".join(keys)


async def test_a_memory_of_attackers_does_not_grow(redis_url: str) -> None:
    policy = (Policy.parse("1/hour", name="one", by="key"),)
    async with running(on_redis(redis_url)) as limiter:
        for batch in range(60):
            attackers = [
                RateLimitCaller(key=f"{batch}-{number}" + "x" * 5_000) for number in range(500)
            ]
            await asyncio.gather(*(limiter.hit(each, policy, cost=2) for each in attackers))
        assert len(limiter._refusals) <= 16_384


async def test_shadow_mode_decides_and_counts_and_never_refuses(redis_url: str) -> None:
    before = count("rate_limit_violations_total", policy="one", mode="shadow")
    async with running(on_redis(redis_url, shadow=True)) as limiter:
        decisions = await asyncio.gather(*(limiter.hit(SOMEBODY, TWO) for _ in range(8)))
        assert all(decision.allowed for decision in decisions)
        assert [decision.shadowed for decision in decisions[-2:]] == [("one",), ("one",)]
        assert decisions[-1].headers == []
    assert count("rate_limit_violations_total", policy="one", mode="shadow") - before == 3


async def test_decisions_are_counted_by_outcome_and_backend(redis_url: str) -> None:
    def seen() -> list[float]:
        return [
            count("rate_limit_decisions_total", decision=decision, backend=backend)
            for decision, backend in (
                ("allowed", "redis"), ("refused", "redis"), ("refused", "refusal"),
                ("allowed", "memory"), ("allowed", "fallback"),
            )
        ]  # fmt: skip

    before = seen()
    async with running(on_redis(redis_url)) as limiter:
        for _ in range(8):
            await limiter.hit(SOMEBODY, ONE)
        await limiter.stop()
        await limiter.hit(SOMEBODY, ONE)  # what Redis refused stays refused without it
        await limiter.hit(RateLimitCaller("192.0.2.8"), ONE)
    Limiter().hit_nowait(SOMEBODY, ONE)
    assert [after - old for after, old in zip(seen(), before, strict=True)] == [5, 1, 3, 1, 1]


async def test_a_cancelled_request_disturbs_no_other(redis_url: str) -> None:
    async with running(on_redis(redis_url)) as limiter:
        tasks = [asyncio.create_task(limiter.hit(SOMEBODY, TWO)) for _ in range(4)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(done[1], asyncio.CancelledError)
        assert all(isinstance(each, Decision) and each.allowed for each in (done[0], *done[2:]))


async def test_the_limiter_speaks_to_a_redis_with_user_password_and_database(
    own_redis: LocalValkey,
) -> None:
    with Redis(port=own_redis.port) as admin:
        admin.execute_command(
            "ACL", "SETUSER", "limiter", "on", ">p@ss/word", "~rl:*", "+@all", "-@dangerous"
        )
        admin.execute_command("CONFIG", "SET", "requirepass", "another")
    url = f"redis://limiter:p%40ss%2Fword@127.0.0.1:{own_redis.port}/3"
    async with running(on_redis(url)) as limiter:
        assert (await limiter.hit(SOMEBODY, ONE)).backend.name == "redis"
    with Redis(port=own_redis.port, password="another", db=3) as admin:
        assert admin.keys("rl:{items:i:192.0.2.7}:*")
    async with running(on_redis(f"redis://:wrong@127.0.0.1:{own_redis.port}/0")) as limiter:
        assert (await limiter.hit(SOMEBODY, ONE)).backend.name == "fallback"
        with pytest.raises(HealthCheckError, match="redis_unavailable"):
            await limiter.check()


async def test_a_redis_that_cannot_write_is_as_good_as_away(own_redis: LocalValkey) -> None:
    with Redis(port=own_redis.port) as admin:
        async with running(on_redis(own_redis.url)) as limiter:
            assert (await limiter.hit(SOMEBODY, ONE)).backend.name == "redis"
            admin.config_set("maxmemory", "1")
            assert (await limiter.hit(SOMEBODY, ONE)).backend.name == "fallback"
            with pytest.raises(HealthCheckError):
                await limiter.check()
            admin.config_set("maxmemory", "0")

            async def is_back() -> bool:
                return (await limiter.hit(SOMEBODY, ONE)).backend.name == "redis"

            await eventually(is_back, seconds=2)


async def test_settings_choose_the_backend(redis_url: str) -> None:
    settings = PlatformSettings(redis_url=SecretStr(redis_url))
    async with running(Limiter.from_settings(settings, redis=object())) as limiter:
        assert (await limiter.hit(SOMEBODY, ONE)).backend.name == "redis"
    away = PlatformSettings(
        redis_url=SecretStr(f"redis://127.0.0.1:{free_port()}/0"), rate_limit_replicas=2
    )
    async with running(Limiter.from_settings(away, redis=object())) as limiter:
        decisions = [await limiter.hit(SOMEBODY, ONE) for _ in range(3)]
        assert [decision.allowed for decision in decisions] == [True, True, False]
    in_memory = PlatformSettings(redis_url=SecretStr(redis_url), rate_limit_backend="memory")
    for limiter in (
        Limiter.from_settings(settings, redis=None),
        Limiter.from_settings(in_memory, redis=object()),
    ):
        assert (await limiter.hit(SOMEBODY, ONE)).backend.name == "memory"


def test_a_limiter_can_be_stopped_and_started_again_in_another_loop(redis_url: str) -> None:
    limiter = on_redis(redis_url)

    async def some_requests() -> set[str]:
        async with running(limiter):
            return {(await limiter.hit(SOMEBODY, TWO)).backend.name for _ in range(2)}

    assert asyncio.run(some_requests()) == {"redis"}
    assert asyncio.run(some_requests()) == {"redis"}


async def test_the_limiter_speaks_to_a_redis_behind_tls(redis_url: str, tmp_path: Path) -> None:
    certificate = self_signed(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    target = urlsplit(redis_url)

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
        writer.close()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(target.hostname, target.port)
        await asyncio.gather(carry(reader, back), carry(there, writer))

    async with await asyncio.start_server(connect, "localhost", 0, ssl=context) as server:
        port = server.sockets[0].getsockname()[1]
        address = f"rediss://localhost:{port}{target.path}"
        async with running(on_redis(f"{address}?ssl_ca_certs={certificate}")) as limiter:
            assert (await limiter.hit(SOMEBODY, ONE)).backend.name == "redis"
        async with running(on_redis(address)) as limiter:  # signed by nobody it trusts
            assert (await limiter.hit(SOMEBODY, ONE)).backend.name == "fallback"


def self_signed(folder: Path) -> Path:
    """A certificate for localhost and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / "localhost.pem"
    file.write_bytes(
        certificate.public_bytes(Encoding.PEM)
        + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    return file


async def test_without_policies_everybody_passes(redis_url: str) -> None:
    async with running(on_redis(redis_url)) as limiter:
        assert (await limiter.hit(SOMEBODY, ())).allowed


async def test_whatever_answers_in_place_of_redis_is_no_reason_to_fail() -> None:
    async def nonsense(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"*1\r\n:5\r\nHTTP/1.1 200 OK\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(nonsense, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with running(on_redis(f"redis://127.0.0.1:{port}/0")) as limiter:
            for _ in range(3):
                assert (await limiter.hit(SOMEBODY, ONE)).backend.name == "fallback"
                await asyncio.sleep(0.05)


async def test_a_secret_of_the_address_is_in_no_repr() -> None:
    store = RedisStore(SecretStr("redis://u:hunter2@127.0.0.1:1/0"), service="x", timeout=0.1)
    assert "hunter2" not in repr(vars(store)) + repr(vars(store._seed))
