"""The token a service uses for its own calls: one request for many calls, renewed in time."""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable

import orjson
import pytest
from packages.platform.tests.identity.conftest import Clock, Issuer

from service_platform.errors import ServiceUnavailable
from service_platform.identity import ServiceTokens
from service_platform.settings import PlatformSettings


@pytest.fixture
async def service_tokens(
    issuer: Issuer, clock: Clock, settings_for: Callable[..., PlatformSettings]
) -> AsyncIterator[ServiceTokens]:
    settings = settings_for(
        issuer.url, service_client_id="reports", service_client_secret="s3cret:with/odd+chars"
    )
    made = ServiceTokens(settings, scope="users:read", clock=clock)
    yield made
    await made.aclose()


def give(issuer: Issuer, token: str, expires_in: int = 600) -> None:
    issuer.body = orjson.dumps({"access_token": token, "expires_in": expires_in})


async def test_the_service_proves_who_it_is(issuer: Issuer, service_tokens: ServiceTokens) -> None:
    give(issuer, "one")
    assert await service_tokens.token() == "one"
    path, body, authorization = issuer.seen[0]
    assert path == "/api/v1/auth/token"
    assert body == b"grant_type=client_credentials&scope=users%3Aread"
    assert authorization is not None
    decoded = base64.b64decode(authorization.removeprefix("Basic ")).decode()
    assert decoded == "reports:s3cret:with/odd+chars"


async def test_many_calls_share_one_request(issuer: Issuer, service_tokens: ServiceTokens) -> None:
    give(issuer, "one")
    issuer.delay = 0.05
    found = await asyncio.gather(*(service_tokens.token() for _ in range(50)))
    assert (set(found), issuer.requests) == ({"one"}, 1)


async def test_it_is_renewed_ahead_without_holding_up_a_call(
    issuer: Issuer, service_tokens: ServiceTokens, clock: Clock
) -> None:
    give(issuer, "one")
    await service_tokens.token()
    give(issuer, "two")
    clock.now += 500
    assert await service_tokens.token() == "one"
    assert service_tokens._fetching is not None
    await service_tokens._fetching
    assert await service_tokens.token() == "two"
    assert issuer.requests == 2


async def test_it_serves_to_its_end_while_auth_is_away(
    issuer: Issuer, service_tokens: ServiceTokens, clock: Clock
) -> None:
    give(issuer, "one")
    await service_tokens.token()
    issuer.status = 503
    clock.now += 590
    assert await service_tokens.token() == "one"
    if service_tokens._fetching is not None:
        await service_tokens._fetching
    clock.now += 20
    with pytest.raises(ServiceUnavailable):
        await service_tokens.token()


async def test_a_refusal_is_not_asked_for_again_at_once(
    issuer: Issuer, service_tokens: ServiceTokens
) -> None:
    issuer.status = 401
    issuer.body = b'{"error":"invalid_client"}'
    for _ in range(10):
        with pytest.raises(ServiceUnavailable):
            await service_tokens.token()
    assert issuer.requests == 1


async def test_a_refused_token_is_invalidated(
    issuer: Issuer, service_tokens: ServiceTokens
) -> None:
    give(issuer, "one")
    token = await service_tokens.token()
    give(issuer, "two")
    service_tokens.invalidate("another")
    assert await service_tokens.token() == "one"
    service_tokens.invalidate(token)
    assert await service_tokens.token() == "two"


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"access_token":"x","expires_in":"soon"}'])
async def test_an_answer_that_is_no_token_is_an_outage(
    issuer: Issuer, service_tokens: ServiceTokens, body: bytes
) -> None:
    issuer.body = body
    with pytest.raises(ServiceUnavailable):
        await service_tokens.token()
