"""Cross-origin requests of browsers (Fetch standard, CORS protocol)."""

import re
from collections.abc import Sequence
from typing import Final

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

_is_local_origin = re.compile(rb"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?").fullmatch


class CorsPolicy:
    """Which origins may call, and the headers that tell a browser so.

    Args:
        origins: exact origins, or `*` for every one.
        allow_credentials: whether cookies and HTTP authentication may be sent along.
        allow_local: also allow every port of this machine (development).
    """

    def __init__(
        self, origins: Sequence[str], *, allow_credentials: bool, allow_local: bool
    ) -> None:
        self._origins = frozenset(origin.encode("ascii") for origin in origins)
        self._any = b"*" in self._origins
        self._allow_local = allow_local
        self._credentials = allow_credentials

    def allows(self, origin: bytes) -> bool:
        """Whether a page of `origin` may read answers."""
        return (
            self._any
            or origin in self._origins
            or (self._allow_local and _is_local_origin(origin) is not None)
        )

    def headers(self, origin: bytes) -> HeaderPairs:
        """Headers of an actual response to a request with this `Origin`."""
        if not self.allows(origin):
            return [(b"vary", b"Origin")]
        return [*self._allow(origin), (b"access-control-expose-headers", EXPOSED_HEADERS)]

    def preflight(self, origin: bytes) -> tuple[int, HeaderPairs]:
        """Status and headers of the answer to a preflight request."""
        if not self.allows(origin):
            return 403, [(b"vary", b"Origin")]
        return 204, [
            *self._allow(origin),
            (b"access-control-allow-methods", ALLOWED_METHODS),
            (b"access-control-allow-headers", ALLOWED_HEADERS),
            (b"access-control-max-age", PREFLIGHT_MAX_AGE),
        ]

    def _allow(self, origin: bytes) -> HeaderPairs:
        if self._any and not self._credentials:
            return [(b"access-control-allow-origin", b"*")]
        pairs = [(b"access-control-allow-origin", origin), (b"vary", b"Origin")]
        if self._credentials:
            pairs.append((b"access-control-allow-credentials", b"true"))
        return pairs
