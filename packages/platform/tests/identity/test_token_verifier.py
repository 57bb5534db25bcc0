"""The token verifier and its cache: a cached token is accepted no longer than it is valid."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from packages.platform.tests.identity.conftest import Clock

from service_platform.errors import Unauthorized
from service_platform.identity import TokenVerifier
from service_platform.identity.revocation import Revocation
from service_platform.identity.revocation_list import RevocationList
from service_platform.settings import PlatformSettings
from service_testing.tokens import TestTokens


class Keys:
    """A key source that counts how often it is asked."""

    def __init__(self, tokens: TestTokens) -> None:
        self.tokens = tokens
        self.asked = 0

    async def key(self, identifier: str) -> Any:
        self.asked += 1
        return self.tokens._key


Make = Callable[..., TokenVerifier]


@pytest.fixture
def keys(tokens: TestTokens) -> Keys:
    return Keys(tokens)


@pytest.fixture
def revoked() -> RevocationList:
    return RevocationList()


@pytest.fixture
def make(
    tokens: TestTokens,
    keys: Keys,
    revoked: RevocationList,
    settings_for: Callable[..., PlatformSettings],
) -> Make:
    def make(**options: Any) -> TokenVerifier:
        settings = settings_for(tokens.auth_url)
        return TokenVerifier(settings, keys=keys, revocations=revoked, **options)

    return make


async def test_a_token_is_verified_once(make: Make, keys: Keys, tokens: TestTokens) -> None:
    verifier, token = make(), tokens.issue()
    assert verifier.verify_cached(token) is None
    principal = await verifier.verify(token)
    for _ in range(100):
        assert verifier.verify_cached(token) is principal
    assert keys.asked == 1


async def test_a_cached_token_expires_on_time(make: Make, tokens: TestTokens) -> None:
    token = tokens.issue(expires_in=60)
    clock = Clock(time.time())
    verifier = make(clock=clock)
    principal = await verifier.verify(token)
    clock.now = principal.expires_at - 0.001
    assert verifier.verify_cached(token) is principal
    clock.now = principal.expires_at
    assert verifier.verify_cached(token) is None
    with pytest.raises(Unauthorized, match="expired"):
        await verifier.verify(token)


async def test_a_cached_token_is_refused_once_it_is_revoked(
    make: Make, revoked: RevocationList, tokens: TestTokens
) -> None:
    verifier, token = make(), tokens.issue()
    principal = await verifier.verify(token)
    revoked.add(Revocation("session", principal.session_id, at=0, until=principal.expires_at))
    assert verifier.verify_cached(token) is None
    with pytest.raises(Unauthorized, match="revoked"):
        await verifier.verify(token)


async def test_the_cache_is_bounded(make: Make, tokens: TestTokens) -> None:
    verifier = make(max_cached=3)
    issued = [tokens.issue() for _ in range(5)]
    for token in issued:
        await verifier.verify(token)
    assert [verifier.verify_cached(token) is not None for token in issued] == [
        False,
        False,
        True,
        True,
        True,
    ]


async def test_refused_tokens_are_not_cached(make: Make, tokens: TestTokens) -> None:
    verifier = make()
    for _ in range(3):
        with pytest.raises(Unauthorized):
            await verifier.verify("a.b.c")
    assert not verifier._cache
