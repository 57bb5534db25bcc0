"""The JWKS client: fetches auth's public keys over HTTP and keeps them during its outages.

One fetch serves all requests that wait for it. Keys are refreshed before they are stale and used
for a day while auth does not answer. An unknown key id leads to a fetch at most every 30 seconds.
"""

import asyncio
import random
import re
import time
from collections.abc import Callable
from typing import Final, Protocol

import httpx2
import orjson
from prometheus_client import Counter

from service_platform.background import TaskSupervisor
from service_platform.cancellation import cancel_and_wait
from service_platform.identity.errors import KeysUnavailable
from service_platform.identity.jwk_set import VerificationKey, parse_jwk_set
from service_platform.logging import get_logger
from service_platform.resources import HealthCheckError
from service_platform.telemetry.http_spans import TracedClient
from service_platform.tls import ssl_context_for

JWKS_PATH: Final = "/.well-known/jwks.json"
DEFAULT_MAX_AGE: Final = 300.0
SHORTEST_MAX_AGE: Final = 1.0
LONGEST_MAX_AGE: Final = 3_600.0
REFRESH_AHEAD: Final = 0.8
"""Part of the keys' lifetime after which they are fetched again."""

STALE_IF_ERROR_SECONDS: Final = 86_400.0
UNKNOWN_KEY_REFETCH_SECONDS: Final = 30.0
ABSENT_KEY_SECONDS: Final = 60.0
MAX_ABSENT_KEYS: Final = 1_024
FETCH_TIMEOUT_SECONDS: Final = 3.0
MAX_DOCUMENT_BYTES: Final = 65_536
FIRST_RETRY_SECONDS: Final = 0.5
LONGEST_RETRY_SECONDS: Final = 15.0

fetches = Counter("identity_jwks_fetches_total", "Fetches of the issuer's key set.", ("outcome",))
_succeeded, _failed = fetches.labels("ok"), fetches.labels("error")
_max_age = re.compile(r"(?:^|[,\s])max-age=(\d{1,9})").search

log = get_logger("service_platform.identity")


class KeySource(Protocol):
    """Finds the keys that verify tokens: `JwksClient`, or auth's own store."""

    async def key(self, identifier: str) -> VerificationKey | None:
        """Return the key with this id (`kid`), `None` where the issuer has no such key.

        Raises:
            KeysUnavailable: the issuer's keys cannot be fetched for the moment.
        """


class JwksClient:
    """Fetches a JWKS document and finds its keys; a `KeySource`.

    Args:
        url: address of the document.
        algorithm: the only algorithm whose keys are used.
        clock: monotonic seconds.
        transport: of the HTTP client; the network by default.
    """

    def __init__(
        self,
        url: str,
        algorithm: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._url = url
        self._algorithm = algorithm
        self._clock = clock
        self._transport = transport
        self._http: httpx2.AsyncClient | None = None
        self._keys: dict[str, VerificationKey] = {}
        self._fetched_at = float("-inf")
        self._max_age = DEFAULT_MAX_AGE
        self._failures = 0
        self._asked_at = float("-inf")
        self._absent: dict[str, float] = {}
        self._fetching: asyncio.Task[bool] | None = None
        self._tasks = TaskSupervisor("keys")

    async def start(self) -> None:
        """Start to fetch in the background; the start does not wait for auth."""
        self._http = TracedClient(
            timeout=FETCH_TIMEOUT_SECONDS,
            follow_redirects=False,
            trust_env=False,
            verify=ssl_context_for(self._url),
            transport=self._transport,
            headers={"accept": "application/jwk-set+json, application/json"},
        )
        self._tasks.run(self._keep_fresh)

    async def stop(self) -> None:
        """End the background task and close the connections."""
        await self._tasks.stop()
        await cancel_and_wait(self._fetching)
        self._fetching = None
        if self._http is not None:
            await self._http.aclose()
            self._http = None

    async def check(self) -> None:
        """Raise `HealthCheckError` while there are no keys to verify tokens."""
        if not self._usable():
            raise HealthCheckError("keys_unavailable")
        self._tasks.check()

    async def key(self, identifier: str) -> VerificationKey | None:
        """Return the key with this id; see `KeySource.key`."""
        if self._usable():
            known = self._keys.get(identifier)
            return known if known is not None else await self._find_unknown(identifier)
        # Without any key every caller waits for the fetch in progress; after a failed fetch no
        # caller waits until the next one is due.
        if self._clock() < self._asked_at + self._retry_delay() and self._fetching is None:
            raise self._unavailable()
        if not await self._fetch():
            raise self._unavailable()
        return self._keys.get(identifier)

    async def _find_unknown(self, identifier: str) -> VerificationKey | None:
        """Fetch again for an unknown key id, but not as often as forged tokens ask for."""
        now = self._clock()
        if now < self._absent.get(identifier, float("-inf")):
            return None
        if self._fetching is None and now < self._asked_at + UNKNOWN_KEY_REFETCH_SECONDS:
            if self._failures:
                raise self._unavailable()
            return None
        if not await self._fetch():
            raise self._unavailable()
        known = self._keys.get(identifier)
        if known is None:
            if len(self._absent) >= MAX_ABSENT_KEYS:
                del self._absent[next(iter(self._absent))]
            self._absent[identifier] = now + ABSENT_KEY_SECONDS
        return known

    def _usable(self) -> bool:
        age = self._clock() - self._fetched_at
        return bool(self._keys) and age < self._max_age + STALE_IF_ERROR_SECONDS

    def _retry_delay(self) -> float:
        if not self._failures:
            return 0.0
        return float(min(FIRST_RETRY_SECONDS * 2 ** (self._failures - 1), LONGEST_RETRY_SECONDS))

    def _unavailable(self) -> KeysUnavailable:
        return KeysUnavailable(retry_after=max(1, round(self._retry_delay())))

    async def _keep_fresh(self) -> None:
        """Fetch before the keys are stale; after a failure retry with exponential backoff."""
        while True:
            await self._fetch()
            delay = self._retry_delay() if self._failures else self._max_age * REFRESH_AHEAD
            # Random, so that replicas that started together do not fetch together.
            await asyncio.sleep(delay * random.uniform(0.8, 1.0))  # noqa: S311 - no secret

    async def _fetch(self) -> bool:
        """Fetch, or wait for the fetch in progress; return whether it succeeded."""
        if self._fetching is None:
            self._fetching = asyncio.create_task(self._fetch_once(), name="jwks-fetch")
            self._fetching.add_done_callback(self._fetched)
        return await asyncio.shield(self._fetching)

    def _fetched(self, _: asyncio.Task[bool]) -> None:
        self._fetching = None

    async def _fetch_once(self) -> bool:
        try:
            async with asyncio.timeout(FETCH_TIMEOUT_SECONDS):
                keys, max_age = await self._download()
        except (httpx2.HTTPError, OSError, ValueError) as error:
            self._failures = min(self._failures + 1, 16)
            self._asked_at = self._clock()
            _failed.inc()
            if self._failures == 1:
                log.warning("jwks_fetch_failed", url=self._url, error=type(error).__name__)
            return False
        if self._failures:
            log.info("jwks_fetch_recovered", url=self._url)
        self._keys, self._max_age = keys, max_age
        self._failures = 0
        self._fetched_at = self._asked_at = self._clock()
        for identifier in keys:
            self._absent.pop(identifier, None)
        _succeeded.inc()
        return True

    async def _download(self) -> tuple[dict[str, VerificationKey], float]:
        if self._http is None:
            raise ValueError("not started")
        body = bytearray()
        async with self._http.stream("GET", self._url) as response:
            if response.status_code != 200:
                raise ValueError("unexpected status")
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > MAX_DOCUMENT_BYTES:
                    raise ValueError("too large")
            cache_control = response.headers.get("cache-control", "")
        keys = parse_jwk_set(orjson.loads(bytes(body)), self._algorithm)
        if not keys:
            raise ValueError("no usable key")
        match = _max_age(cache_control)
        max_age = float(match[1]) if match else DEFAULT_MAX_AGE
        return keys, min(max(max_age, SHORTEST_MAX_AGE), LONGEST_MAX_AGE)
