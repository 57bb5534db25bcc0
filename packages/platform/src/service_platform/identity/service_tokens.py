"""The access token of a service for its own calls: client credentials (RFC 6749, section 4.4)."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

import httpx2
import orjson

from service_platform.cancellation import cancel_and_wait
from service_platform.errors import ServiceUnavailable
from service_platform.identity.dependencies import TOKEN_PATH
from service_platform.logging import get_logger
from service_platform.settings import PlatformSettings
from service_platform.telemetry.http_spans import TracedClient
from service_platform.tls import ssl_context_for

REFRESH_AHEAD: Final = 0.75
"""Part of a token's lifetime after which a new one is fetched, while calls use the old one."""

EXPIRY_MARGIN_SECONDS: Final = 5.0
RETRY_SECONDS: Final = 1.0
TIMEOUT_SECONDS: Final = 5.0

log = get_logger("service_platform.identity")


class ServiceTokens:
    """Fetches, caches and renews the access token of this service.

    One request serves all callers. The token is renewed before it expires, so that only the first
    call waits for it; while auth is away the cached token is used until it expires.

    Args:
        settings: `SERVICE_CLIENT_ID`, `SERVICE_CLIENT_SECRET` and where auth is.
        scope: scopes to ask for; empty means all the client has.
        clock: monotonic seconds.
        transport: of the HTTP client; the network by default.
    """

    def __init__(
        self,
        settings: PlatformSettings,
        *,
        scope: str = "",
        clock: Callable[[], float] = time.monotonic,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._url = settings.auth_url + settings.api_v1_prefix + TOKEN_PATH
        self._client_id = settings.service_client_id
        self._client_secret = settings.service_client_secret
        self._scope = scope
        self._clock = clock
        self._transport = transport
        self._token = ""
        self._renew_at = self._expires_at = float("-inf")
        self._retry_at = float("-inf")
        self._fetching: asyncio.Task[None] | None = None

    async def token(self) -> str:
        """Return a valid access token.

        Raises:
            ServiceUnavailable: auth issues none and none is cached.
        """
        now = self._clock()
        if now < self._renew_at:
            return self._token
        if now < self._expires_at:
            if now >= self._retry_at:
                self._fetch()
            return self._token
        if now >= self._retry_at or self._fetching is not None:
            await asyncio.shield(self._fetch())
        if self._clock() >= self._expires_at:
            raise ServiceUnavailable("A service needed for this cannot be called for the moment.")
        return self._token

    def invalidate(self, token: str) -> None:
        """Remove `token` from the cache, because a service refused it: it may have been revoked."""
        if token == self._token:
            self._renew_at = self._expires_at = float("-inf")

    async def aclose(self) -> None:
        """Cancel a fetch in progress."""
        await cancel_and_wait(self._fetching)

    def _fetch(self) -> asyncio.Task[None]:
        if self._fetching is None:
            self._fetching = asyncio.create_task(self._fetch_once(), name="service-token")
            self._fetching.add_done_callback(self._fetched)
        return self._fetching

    def _fetched(self, _: asyncio.Task[None]) -> None:
        self._fetching = None

    async def _fetch_once(self) -> None:
        asked_at = self._clock()
        try:
            token, lifetime = await self._request()
        except (httpx2.HTTPError, OSError, ValueError, KeyError, TypeError) as error:
            self._retry_at = self._clock() + RETRY_SECONDS
            log.warning("service_token_failed", error=type(error).__name__, reason=_reason(error))
            return
        self._token = token
        self._expires_at = asked_at + lifetime - min(EXPIRY_MARGIN_SECONDS, lifetime / 2)
        self._renew_at = min(asked_at + lifetime * REFRESH_AHEAD, self._expires_at)

    async def _request(self) -> tuple[str, float]:
        form = {"grant_type": "client_credentials"}
        if self._scope:
            form["scope"] = self._scope
        async with (
            asyncio.timeout(TIMEOUT_SECONDS),
            TracedClient(
                timeout=TIMEOUT_SECONDS,
                follow_redirects=False,
                trust_env=False,
                verify=ssl_context_for(self._url),
                transport=self._transport,
            ) as http,
        ):
            secret = self._client_secret.get_secret_value()
            answer = await http.post(self._url, data=form, auth=(self._client_id, secret))
        if answer.status_code != 200:
            raise _RefusedError(answer.status_code)
        content = orjson.loads(answer.content)
        return str(content["access_token"]), float(content["expires_in"])


class _RefusedError(ValueError):
    """Auth answered without a token."""


def _reason(error: Exception) -> str:
    """Return what may be logged: a status, never an answer's text."""
    return f"auth answered {error.args[0]}" if isinstance(error, _RefusedError) else "no answer"
