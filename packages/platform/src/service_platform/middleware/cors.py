"""Answers cross-origin requests of browsers (Fetch standard, CORS protocol)."""

import re
from collections.abc import Sequence
from typing import Final

from starlette.types import Message, Send

from service_platform.errors import MethodNotAllowed, NotFound

HeaderPairs = list[tuple[bytes, bytes]]

ALLOWED_METHODS: Final = b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
ALLOWED_HEADERS: Final = (
    b"Accept, Accept-Language, Authorization, Content-Language, Content-Type, Idempotency-Key, "
    b"If-Match, If-None-Match, X-Request-ID, traceparent, tracestate"
)
EXPOSED_HEADERS: Final = (
    b"ETag, Idempotency-Replayed, Link, Location, RateLimit, RateLimit-Policy, Retry-After, "
    b"WWW-Authenticate, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, "
    b"X-Request-ID, X-Response-Time"
)
PREFLIGHT_MAX_AGE: Final = b"7200"
ALLOW_ORIGIN: Final = b"access-control-allow-origin"

_UNMATCHED: Final = frozenset({NotFound.status, MethodNotAllowed.status})

_is_local_origin = re.compile(rb"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?").fullmatch


class CorsPolicy:
    """Which origins may call, and the headers that tell a browser so.

    Args:
        origins: exact origins, or `*` for every one.
        allow_credentials: whether cookies and HTTP authentication may be sent along.
        allow_local: also allow every port of this machine (development).

    Attributes:
        varies: whether a response depends on the `Origin` of its request.
    """

    def __init__(
        self, origins: Sequence[str], *, allow_credentials: bool, allow_local: bool
    ) -> None:
        self._origins = frozenset(origin.encode("ascii") for origin in origins)
        self._any = b"*" in self._origins
        self._allow_local = allow_local
        self._credentials = allow_credentials
        self.varies = bool(origins or allow_local) and not (self._any and not allow_credentials)

    def allows(self, origin: bytes) -> bool:
        """Return whether a page of `origin` may read answers."""
        return (
            self._any
            or origin in self._origins
            or (self._allow_local and _is_local_origin(origin) is not None)
        )

    def headers(self, origin: bytes) -> HeaderPairs:
        """Return the headers of an actual response to a request with this `Origin`."""
        if not self.allows(origin):
            return []
        return [*self._allow(origin), (b"access-control-expose-headers", EXPOSED_HEADERS)]

    def preflight(self, origin: bytes) -> HeaderPairs:
        """Return the headers of the answer to a preflight request of an allowed origin."""
        return [
            *self._allow(origin),
            (b"access-control-allow-methods", ALLOWED_METHODS),
            (b"access-control-allow-headers", ALLOWED_HEADERS),
            (b"access-control-max-age", PREFLIGHT_MAX_AGE),
        ]

    def _allow(self, origin: bytes) -> HeaderPairs:
        if self._any and not self._credentials:
            return [(ALLOW_ORIGIN, b"*")]
        pairs = [(ALLOW_ORIGIN, origin)]
        if self._credentials:
            pairs.append((b"access-control-allow-credentials", b"true"))
        return pairs


def refusing_preflight(send: Send) -> Send:
    """Return a `send` for a preflight request of an origin that the settings do not allow.

    A route of the service may answer `OPTIONS` itself; without one the answer is 403.
    """
    refused = False

    async def send_unless_refused(message: Message) -> None:
        nonlocal refused
        if message["type"] == "http.response.start":
            refused = message["status"] in _UNMATCHED
            if refused:
                await send_empty(403, [(b"content-length", b"0")], send)
                return
        if not refused:
            await send(message)

    return send_unless_refused


async def send_empty(status: int, headers: HeaderPairs, send: Send) -> None:
    """Send a response without content."""
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
