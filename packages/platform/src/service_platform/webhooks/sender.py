"""Sends one request to a subscriber: bounded in time and size, and never into a private network."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from ssl import SSLContext
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2

from service_platform.telemetry.tracing import client_span, set_failed
from service_platform.tls import default_ssl_context
from service_platform.webhooks import metrics
from service_platform.webhooks.addresses import UrlError, check_url
from service_platform.webhooks.network import (
    AddressRefusedError,
    PublicNetwork,
    PublicTransport,
    Resolve,
    UnknownHostError,
    resolve,
)
from service_platform.webhooks.secrets import WebhookSecrets
from service_platform.webhooks.settings import WebhookSettings

MAX_CONNECTIONS: Final = 100
CONNECT_SECONDS: Final = 5.0
MAX_READ_BYTES: Final = 16_384
"""Of a response's body, which says nothing: what has more ends with its connection."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a request.

    Attributes:
        status: of the response, if there was one.
        error: `None` where the subscriber has the message; otherwise `rejected` or why there was no
            response.
    """

    status: int | None
    error: str | None


class WebhookSender:
    """Sends requests to subscribers; a resource.

    No redirects are followed, no cookies are kept, and neither a proxy of the environment nor the
    trace of the request is told to strangers.

    Args:
        settings: time limit, and whether private networks are right.
        resolve: returns the addresses of a name.
        verify: which certificate authorities are trusted; the usual ones where omitted.
    """

    name = "webhook_sender"
    critical = False

    def __init__(
        self,
        settings: WebhookSettings,
        *,
        resolve: Resolve = resolve,
        verify: SSLContext | None = None,
    ) -> None:
        self.settings = settings
        self.secrets = WebhookSecrets(settings.secret_keys)
        self._resolve = resolve
        self._verify = verify
        self._transport: PublicTransport | None = None
        self._user_agent = f"{settings.project_name}/{settings.version}"

    async def start(self) -> None:
        """Do nothing: connections are made when they are needed."""

    async def stop(self) -> None:
        """Close the connections."""
        if self._transport is not None:
            await self._transport.aclose()

    async def check(self) -> None:
        """Do nothing: what subscribers do says nothing about this service."""

    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Outcome:
        """Send a message once.

        Args:
            url: of the subscription.
            headers: that sign it.
            body: JSON.
        """
        try:
            check_url(url, allow_private=self.settings.webhooks_allow_private)
        except UrlError:  # of a subscription that was made under other settings
            return self._measured(Outcome(None, "address_refused"), 0.0)
        began = time.perf_counter()
        with client_span("POST", _described(url)) as span:
            outcome = await self._outcome(url, headers, body)
            if outcome.status is not None:
                span.set_attribute("http.response.status_code", outcome.status)
            if outcome.error is not None:
                set_failed(span, outcome.error)
        return self._measured(outcome, time.perf_counter() - began)

    async def _outcome(self, url: str, headers: Mapping[str, str], body: bytes) -> Outcome:
        try:
            async with asyncio.timeout(self.settings.webhooks_timeout_seconds):
                status = await self._status(url, headers, body)
        except (TimeoutError, httpx2.TimeoutException):
            return Outcome(None, "timeout")
        except AddressRefusedError:
            return Outcome(None, "address_refused")
        except UnknownHostError:
            return Outcome(None, "unknown_host")
        except httpx2.ConnectError:
            return Outcome(None, "connect_error")
        except httpx2.TransportError:
            return Outcome(None, "broken_off")
        return Outcome(status, None if 200 <= status < 300 else "rejected")

    async def _status(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        seconds = self.settings.webhooks_timeout_seconds
        request = httpx2.Request(
            "POST",
            url,
            headers={
                "user-agent": self._user_agent,
                "content-type": "application/json",
                "accept-encoding": "identity",
                **headers,
            },
            content=body,
            extensions={
                "timeout": {
                    "connect": min(CONNECT_SECONDS, seconds),
                    "read": seconds,
                    "write": seconds,
                    "pool": seconds,
                }
            },
        )
        # Of the transport itself: a client would keep cookies of one subscriber for the next.
        response = await self._connections().handle_async_request(request)
        try:
            await _read_some(response)
        finally:
            await response.aclose()
        return response.status_code

    def _connections(self) -> PublicTransport:
        """Return the transport, made when it is first needed: certificates take 75 ms to load."""
        if self._transport is None:
            network = PublicNetwork(
                allow_private=self.settings.webhooks_allow_private, resolve=self._resolve
            )
            self._transport = PublicTransport(
                network, self._verify or default_ssl_context(), MAX_CONNECTIONS
            )
        return self._transport

    @staticmethod
    def _measured(outcome: Outcome, seconds: float) -> Outcome:
        metrics.attempts.labels(outcome.error or "succeeded").inc()
        metrics.duration_seconds.observe(seconds)
        return outcome


async def _read_some(response: httpx2.Response) -> None:
    """Read the body of a response, so that its connection can be used again, unless it is long."""
    size = 0
    async for chunk in response.aiter_raw():
        size += len(chunk)
        if size > MAX_READ_BYTES:
            return


def _described(url: str) -> dict[str, Any]:
    """Return the attributes of a span: without the path, in which subscribers have secrets."""
    parts = urlsplit(url)
    return {
        "http.request.method": "POST",
        "server.address": parts.hostname or "",
        "server.port": parts.port or (443 if parts.scheme == "https" else 80),
    }


__all__ = ["Outcome", "WebhookSender"]
