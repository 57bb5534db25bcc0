"""The token verifier: accepts or refuses access tokens, with a cache of verified ones.

A token is refused here for each of these reasons: it is not valid (`token_validation.py`), its key
is unknown (`jwks_client.py`), or it was revoked (`revocation_list.py`).
"""

import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Final, Protocol

from prometheus_client import Counter

from service_platform.errors import Unauthorized
from service_platform.identity.jwks_client import JWKS_PATH, JwksClient, KeySource
from service_platform.identity.principal import Principal
from service_platform.identity.revocation_list import VerifiedToken
from service_platform.identity.revocation_subscriber import RevocationSubscriber
from service_platform.identity.token_validation import (
    InvalidTokenError,
    TokenRules,
    validate_header,
    validate_token,
)
from service_platform.settings import PlatformSettings

MAX_CACHED_TOKENS: Final = 10_000

verifications = Counter(
    "identity_verifications_total",
    "Tokens verified by signature, not from the cache.",
    ("outcome",),
)
_accepted, _refused = verifications.labels("accepted"), verifications.labels("refused")


class RevocationCheck(Protocol):
    """Checks whether a token was revoked: `RevocationSubscriber` or `RevocationList`."""

    def is_revoked(self, token: VerifiedToken) -> bool:
        """Return whether the token, its session or its account was revoked."""


class _Component(Protocol):
    """A component that starts and stops with the verifier."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def check(self) -> None: ...


class TokenVerifier:
    """Verifies access tokens and returns their principals; the resource `identity` of a service.

    The key source and the revocation check it creates itself start and stop with it; those it is
    given belong to the caller. A failing check degrades the service, which goes on with the keys
    in memory.

    Args:
        settings: issuer, audience, algorithm and the address of auth.
        keys: finds the issuer's keys; by default in auth's JWKS document.
        revocations: by default those of the Redis stream.
        max_cached: bound of the cache of verified tokens; the oldest are removed first.
        clock: seconds since the epoch.
    """

    name = "identity"
    critical = False

    def __init__(
        self,
        settings: PlatformSettings,
        *,
        keys: KeySource | None = None,
        revocations: RevocationCheck | None = None,
        max_cached: int = MAX_CACHED_TOKENS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._rules = TokenRules(
            issuer=settings.jwt_issuer,
            audience=settings.jwt_audience,
            algorithm=settings.jwt_algorithm,
        )
        self._registry = self._rules.registry()
        self._components: list[_Component] = []
        if keys is None:
            keys = JwksClient(settings.auth_url + JWKS_PATH, settings.jwt_algorithm)
            self._components.append(keys)
        if revocations is None:
            revocations = RevocationSubscriber(settings)
            self._components.append(revocations)
        self._keys = keys
        self._revocations = revocations
        self._cache: dict[str, VerifiedToken] = {}
        self._max_cached = max_cached
        self._clock = clock

    async def start(self) -> None:
        """Start to fetch keys and to read revocations; the service starts without either."""
        async with AsyncExitStack() as started:
            for component in self._components:
                await component.start()
                started.push_async_callback(component.stop)
            self._started = started.pop_all()

    async def stop(self) -> None:
        """Stop fetching keys and reading revocations."""
        await self._started.aclose()

    async def check(self) -> None:
        """Raise `HealthCheckError` while keys or revocations are not available."""
        for component in self._components:
            await component.check()

    def verify_cached(self, token: str) -> Principal | None:
        """Return the principal of a cached token; `None` if it is not cached or not valid now."""
        cached = self._cache.get(token)
        if cached is None:
            return None
        if cached.principal.expires_at <= self._clock() or self._revocations.is_revoked(cached):
            del self._cache[token]
            return None
        return cached.principal

    async def verify(self, token: str) -> Principal:
        """Verify a token and return its principal.

        Raises:
            Unauthorized: 401, the token is not valid for this service, or was revoked.
            KeysUnavailable: 503, the keys to verify it are not available.
        """
        try:
            principal = await self._verify(token)
        except InvalidTokenError as refusal:
            _refused.inc()
            raise Unauthorized(str(refusal), error="invalid_token") from None
        _accepted.inc()
        return principal

    async def _verify(self, token: str) -> Principal:
        key = await self._keys.key(validate_header(token, self._rules))
        if key is None:
            raise InvalidTokenError("The access token is signed with a key that is not known.")
        principal = validate_token(token, key, self._rules, self._registry, self._clock())
        verified = VerifiedToken.of(principal)
        if self._revocations.is_revoked(verified):
            raise InvalidTokenError("The access token was revoked.")
        if len(self._cache) >= self._max_cached:
            del self._cache[next(iter(self._cache))]
        self._cache[token] = verified
        return principal
