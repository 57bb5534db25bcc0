"""The revocation subscriber: revocations are read within a second and hold during outages."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import redis
from packages.platform.tests.identity.revoked_tokens import LATER, now_ms, verified_token

from service_platform.identity import Revocation, RevocationSubscriber
from service_platform.identity.revocation import STREAM
from service_platform.ids import new_id
from service_platform.resources import HealthCheckError
from service_platform.settings import PlatformSettings
from service_testing.valkey import LocalValkey


def publish(url: str, entry: Revocation) -> None:
    with redis.Redis.from_url(url) as client:
        client.xadd(STREAM, entry.to_fields())


async def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for is in another program
            await asyncio.sleep(0.005)


@asynccontextmanager
async def subscribed(settings: PlatformSettings) -> AsyncIterator[RevocationSubscriber]:
    revocations = RevocationSubscriber(settings)
    await revocations.start()
    try:
        yield revocations
    finally:
        await revocations.stop()


SettingsFor = Callable[..., PlatformSettings]


async def test_a_revocation_is_read(settings_for: SettingsFor, redis_url: str) -> None:
    mine = verified_token(session=new_id())
    async with subscribed(settings_for("http://auth.test")) as revocations:
        assert not revocations.is_revoked(mine)
        publish(redis_url, Revocation("session", mine.revocation_id, at=now_ms(), until=LATER))
        await until(lambda: revocations.is_revoked(mine), seconds=1.0)


async def test_a_new_process_knows_what_was_revoked_before(
    settings_for: SettingsFor, redis_url: str
) -> None:
    gone = [verified_token(session=new_id()) for _ in range(2_500)]
    with redis.Redis.from_url(redis_url) as client:
        pipeline = client.pipeline(transaction=False)
        for each in gone:
            pipeline.xadd(
                STREAM, Revocation("session", each.revocation_id, now_ms(), LATER).to_fields()
            )
        pipeline.execute()
    async with subscribed(settings_for("http://auth.test")) as revocations:
        assert all(revocations.is_revoked(each) for each in gone)


async def test_an_entry_that_is_not_understood_does_not_stop_the_next(
    settings_for: SettingsFor, redis_url: str
) -> None:
    mine = verified_token(session=new_id())
    async with subscribed(settings_for("http://auth.test")) as revocations:
        with redis.Redis.from_url(redis_url) as client:
            client.xadd(STREAM, {"kind": "planet"})
        publish(redis_url, Revocation("session", mine.revocation_id, at=now_ms(), until=LATER))
        await until(lambda: revocations.is_revoked(mine))


async def test_revocations_hold_while_redis_is_away_and_new_ones_are_read_afterwards(
    settings_for: SettingsFor, own_redis: LocalValkey
) -> None:
    before, after = verified_token(session=new_id()), verified_token(session=new_id())
    async with subscribed(settings_for("http://auth.test", redis_url=own_redis.url)) as revocations:
        await revocations.check()
        publish(
            own_redis.url, Revocation("session", before.revocation_id, at=now_ms(), until=LATER)
        )
        await until(lambda: revocations.is_revoked(before))
        own_redis.kill()
        await until(lambda: not revocations._up_to_date.is_set())
        with pytest.raises(HealthCheckError, match="revocations_unavailable"):
            await revocations.check()
        assert revocations.is_revoked(before)
        own_redis.start()  # it comes back empty, as after a failover without persistence
        publish(own_redis.url, Revocation("session", after.revocation_id, at=now_ms(), until=LATER))
        await until(lambda: revocations.is_revoked(after), seconds=10)
        assert revocations.is_revoked(before)
        await revocations.check()


async def test_a_service_starts_without_redis(
    settings_for: SettingsFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service_platform.identity.revocation_subscriber.START_SECONDS", 0.1)
    async with subscribed(
        settings_for("http://auth.test", redis_url="redis://127.0.0.1:1/0")
    ) as revocations:
        with pytest.raises(HealthCheckError):
            await revocations.check()
