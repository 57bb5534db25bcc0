"""Verifies bearer tokens: by the issuer's keys the first time, then by a dictionary look-up."""

import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Final, Protocol

from prometheus_client import Counter

from service_platform.errors import Unauthorized
from service_platform.identity.access_tokens import InvalidTokenError, TokenRules, key_id, read
from service_platform.identity.jwks import JWKS_PATH, JwksClient, KeySource
from service_platform.identity.principal import Principal
from service_platform.identity.revocation import Credential, Revocations
from service_platform.settings import PlatformSettings

MAX_CACHED_TOKENS: Final = 10_000

verifications = Counter(
    "identity_verifications_total",
    "Tokens verified by signature, not from the cache.",
    ("outcome",),
)
_accepted, _refused = verifications.labels("accepted"), verifications.labels("refused")


class RevocationCheck(Protocol):
    """Says whether a token was revoked (`Revocations`)."""

    def refuses(self, credential: Credential) -> bool:
        """Whether the token must not be accepted any more."""


class _Part(Protocol):
    """What starts and stops with the verifier."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def check(self) -> None: ...


class TokenVerifier:
    """Turns access tokens into principals; the resource `identity` of every service.

    The key source and the revocations it makes itself start and stop with it; those it is given
    belong to the caller. A failing check degrades the service: with keys in memory everything goes
    on.

    Args:
        settings: issuer, audience, algorithm and the address of auth.
        keys: where keys come from; by default auth's JWKS document.
        revocations: by default those of the Redis stream.
        max_cached: bound of the cache of verified tokens; the oldest leave first.
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
        self._parts: list[_Part] = []
        if keys is None:
            keys = JwksClient(settings.auth_url + JWKS_PATH, settings.jwt_algorithm)
            self._parts.append(keys)
        if revocations is None:
            revocations = Revocations(settings)
            self._parts.append(revocations)
        self._keys = keys
        self._revocations = revocations
        self._verified: dict[str, Credential] = {}
        self._max_cached = max_cached
        self._clock = clock

    async def start(self) -> None:
        """Begin to fetch keys and to hear revocations; neither being away holds up the start."""
        async with AsyncExitStack() as started:
            for part in self._parts:
                await part.start()
                started.push_async_callback(part.stop)
            self._started = started.pop_all()

    async def stop(self) -> None:
        """End both."""
        await self._started.aclose()

    async def check(self) -> None:
        """Raise `HealthCheckError` where tokens cannot be verified or revocations not heard."""
        for part in self._parts:
            await part.check()

    def verify_cached(self, token: str) -> Principal | None:
        """The principal of a token verified before and still good, else `None`."""
        credential = self._verified.get(token)
        if credential is None:
            return None
        if credential.principal.expires_at <= self._clock() or self._revocations.refuses(
            credential
        ):
            del self._verified[token]
            return None
        return credential.principal

    async def verify(self, token: str) -> Principal:
        """The principal of the token.

        Raises:
            Unauthorized: 401, where it is not a valid token for this service, or was revoked.
            KeysUnavailable: 503, where the keys to tell are not known yet.
        """
        try:
            principal = await self._verify(token)
        except InvalidTokenError as refusal:
            _refused.inc()
            raise Unauthorized(str(refusal), error="invalid_token") from None
        _accepted.inc()
        return principal

    async def _verify(self, token: str) -> Principal:
        key = await self._keys.key(key_id(token, self._rules))
        if key is None:
            raise InvalidTokenError("The access token is signed with a key that is not known.")
        principal = read(token, key, self._rules, self._registry, self._clock())
        credential = Credential.of(principal)
        if self._revocations.refuses(credential):
            raise InvalidTokenError("The access token was revoked.")
        if len(self._verified) >= self._max_cached:
            del self._verified[next(iter(self._verified))]
        self._verified[token] = credential
        return principal
