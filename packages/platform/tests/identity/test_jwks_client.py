"""The JWKS client: one fetch for many callers, keys kept during outages, few refetches."""

import asyncio
from collections.abc import AsyncIterator, Callable

import httpx2
import pytest
from packages.platform.tests.identity.conftest import Clock, Issuer, guarded_routes

from service_platform.app import create_app
from service_platform.identity import JwksClient, KeysUnavailable, TokenVerifier
from service_platform.identity.jwks_client import (
    ABSENT_KEY_SECONDS,
    STALE_IF_ERROR_SECONDS,
    UNKNOWN_KEY_REFETCH_SECONDS,
)
from service_platform.resources import HealthCheckError
from service_platform.settings import PlatformSettings
from service_testing.services import client_of, started
from service_testing.tokens import TestTokens, new_key


@pytest.fixture
async def keys(issuer: Issuer, clock: Clock) -> AsyncIterator[JwksClient]:
    """A client whose background refresh is asleep, so that each test counts its own requests."""
    client = JwksClient(issuer.url, "ES256", clock=clock)
    client._http = httpx2.AsyncClient()
    yield client
    await client.stop()


async def test_many_callers_wait_for_one_fetch(issuer: Issuer, keys: JwksClient) -> None:
    key = new_key()
    issuer.publish(key)
    issuer.delay = 0.1
    found = await asyncio.gather(*(keys.key(str(key.kid)) for _ in range(50)))
    assert all(each is not None for each in found)
    assert issuer.requests == 1


async def test_one_who_gives_up_does_not_end_the_fetch_of_the_others(
    issuer: Issuer, keys: JwksClient
) -> None:
    key = new_key()
    issuer.publish(key)
    issuer.delay = 0.1
    impatient = asyncio.create_task(keys.key(str(key.kid)))
    patient = asyncio.create_task(keys.key(str(key.kid)))
    await asyncio.sleep(0.03)
    impatient.cancel()
    assert await patient is not None
    assert issuer.requests == 1


async def test_an_unknown_key_is_looked_for_at_most_every_30_seconds(
    issuer: Issuer, keys: JwksClient, clock: Clock
) -> None:
    old, new = new_key(), new_key()
    issuer.publish(old)
    await keys.key(str(old.kid))
    for _ in range(100):
        assert await keys.key("unknown") is None
    assert issuer.requests == 1
    issuer.publish(old, new)
    clock.now += UNKNOWN_KEY_REFETCH_SECONDS
    assert await keys.key(str(new.kid)) is not None
    assert issuer.requests == 2


async def test_a_key_known_to_be_absent_is_not_looked_for_again_soon(
    issuer: Issuer, keys: JwksClient, clock: Clock
) -> None:
    key = new_key()
    issuer.publish(key)
    await keys.key(str(key.kid))
    clock.now += UNKNOWN_KEY_REFETCH_SECONDS
    assert await keys.key("gone") is None
    assert issuer.requests == 2
    clock.now += UNKNOWN_KEY_REFETCH_SECONDS
    assert await keys.key("gone") is None
    assert issuer.requests == 2
    clock.now += ABSENT_KEY_SECONDS
    assert await keys.key("gone") is None
    assert issuer.requests == 3


async def test_the_memory_of_absent_keys_is_bounded(
    issuer: Issuer, keys: JwksClient, clock: Clock
) -> None:
    key = new_key()
    issuer.publish(key)
    await keys.key(str(key.kid))
    keys._absent = {str(number): 1e9 for number in range(1_024)}
    clock.now += UNKNOWN_KEY_REFETCH_SECONDS
    await keys.key("one more")
    assert len(keys._absent) == 1_024


async def test_keys_serve_for_a_day_while_the_issuer_is_away(
    issuer: Issuer, keys: JwksClient, clock: Clock
) -> None:
    key = new_key()
    issuer.publish(key)
    await keys.key(str(key.kid))
    issuer.status = 500
    clock.now += 300 + STALE_IF_ERROR_SECONDS - 1
    assert await keys.key(str(key.kid)) is not None
    await keys.check()
    clock.now += 2
    with pytest.raises(KeysUnavailable):
        await keys.key(str(key.kid))
    with pytest.raises(HealthCheckError, match="keys_unavailable"):
        await keys.check()


async def test_an_unknown_key_is_not_called_invalid_while_the_issuer_is_away(
    issuer: Issuer, keys: JwksClient, clock: Clock
) -> None:
    key = new_key()
    issuer.publish(key)
    await keys.key(str(key.kid))
    issuer.status = 500
    clock.now += UNKNOWN_KEY_REFETCH_SECONDS
    for _ in range(20):
        with pytest.raises(KeysUnavailable):
            await keys.key("new")
    assert issuer.requests == 2


async def test_without_any_key_a_failed_fetch_is_not_repeated_for_each_request(
    issuer: Issuer, keys: JwksClient, clock: Clock
) -> None:
    issuer.status = 500
    for _ in range(20):
        with pytest.raises(KeysUnavailable):
            await keys.key("any")
    assert issuer.requests == 1
    clock.now += 60
    with pytest.raises(KeysUnavailable):
        await keys.key("any")
    assert issuer.requests == 2


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[]",
        b'{"keys":{}}',
        b'{"keys":[]}',
        b'{"keys":[1,null,{"kid":"a"}]}',
        b'{"keys":[]}' + b" " * 70_000,
    ],
)
async def test_a_document_without_a_usable_key_counts_as_a_failure(
    issuer: Issuer, keys: JwksClient, body: bytes
) -> None:
    issuer.body = body
    with pytest.raises(KeysUnavailable):
        await keys.key("any")


async def test_a_broken_document_does_not_replace_good_keys(
    issuer: Issuer, keys: JwksClient, clock: Clock
) -> None:
    key = new_key()
    issuer.publish(key)
    await keys.key(str(key.kid))
    issuer.body = b'{"keys":[]}'
    clock.now += UNKNOWN_KEY_REFETCH_SECONDS
    with pytest.raises(KeysUnavailable):
        await keys.key("other")
    assert await keys.key(str(key.kid)) is not None


async def test_keys_are_fetched_before_they_are_stale(issuer: Issuer) -> None:
    key = new_key()
    issuer.publish(key)
    issuer.max_age = 1
    client = JwksClient(issuer.url, "ES256")
    await client.start()
    try:
        async with asyncio.timeout(5):
            while issuer.requests < 3:  # noqa: ASYNC110 - the issuer is in another thread
                await asyncio.sleep(0.01)
        assert await client.key(str(key.kid)) is not None
    finally:
        await client.stop()


async def test_a_start_does_not_wait_for_the_issuer(issuer: Issuer) -> None:
    issuer.delay = 2
    client = JwksClient(issuer.url, "ES256")
    async with asyncio.timeout(0.5):
        await client.start()
        await client.stop()


async def test_a_running_service_accepts_tokens_of_a_new_key(
    settings_for: Callable[..., PlatformSettings],
    issuer: Issuer,
    tokens: TestTokens,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("service_platform.identity.jwks_client.UNKNOWN_KEY_REFETCH_SECONDS", 0.0)
    settings = settings_for(issuer.url, jwt_issuer=tokens.issuer)
    old, new = new_key(), new_key()
    issuer.publish(old)
    app = create_app(settings, routers=[guarded_routes()], resources=[TokenVerifier(settings)])
    async with started(app), client_of(app) as client:
        for published in ([old], [old, new]):
            issuer.publish(*published)
            headers = {"authorization": f"Bearer {tokens.issue(key=published[-1])}"}
            assert (await client.get("/api/v1/things/mine", headers=headers)).status_code == 200
