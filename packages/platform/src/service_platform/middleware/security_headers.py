"""Response headers that every answer of an API carries (OWASP REST Security Cheat Sheet)."""

from typing import Final

HeaderPairs = tuple[tuple[bytes, bytes], ...]

CONTENT_SECURITY_POLICY: Final = (
    b"content-security-policy",
    b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
)
"""An API answers data: nothing in it may load, run or be framed. Pages bring their own policy."""

PLAIN: Final[HeaderPairs] = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
BEHIND_TLS: Final[HeaderPairs] = (
    *PLAIN,
    (b"strict-transport-security", b"max-age=63072000; includeSubDomains"),
)
