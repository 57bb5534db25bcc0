"""Merges the response headers of the platform with those of a route, which win.

What a route sets wins, whatever it is. `Vary` is the exception: its values are merged, because
every layer adds what it looked at (RFC 9110, section 12.5.5).
"""

from collections.abc import Mapping, Sequence
from typing import Final

HeaderPairs = list[tuple[bytes, bytes]]

CONTENT_SECURITY_POLICY: Final = (
    b"content-security-policy",
    b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
)
"""An API answers data: nothing in it may load, run or be framed. Pages bring their own policy."""

PLAIN: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
"""Security headers of an API (OWASP REST Security Cheat Sheet)."""

BEHIND_TLS: Final = (
    *PLAIN,
    (b"strict-transport-security", b"max-age=63072000; includeSubDomains"),
)


class ContentSecurityPolicies:
    """The `Content-Security-Policy` of each path: strict, unless told otherwise.

    Args:
        by_path: policies by path prefix, such as `{"/admin": "default-src 'self'"}`. A prefix
            counts for the path itself and for everything below it; the longest one wins.

    Raises:
        ValueError: a prefix does not begin with `/`, or a policy is empty.
    """

    def __init__(self, by_path: Mapping[str, str]) -> None:
        for prefix, policy in by_path.items():
            if not prefix.startswith("/") or not policy.strip():
                raise ValueError(
                    f"content_security_policies[{prefix!r}]: give a path that begins with / and a "
                    "policy."
                )
        longest_first = sorted(by_path, key=len, reverse=True)
        self._by_prefix = [
            (prefix.rstrip("/"), (CONTENT_SECURITY_POLICY[0], by_path[prefix].encode("latin-1")))
            for prefix in longest_first
        ]

    def of(self, path: str) -> tuple[bytes, bytes]:
        """Return the header for a path."""
        for prefix, header in self._by_prefix:
            if path == prefix or path.startswith(f"{prefix}/"):
                return header
        return CONTENT_SECURITY_POLICY


_ADDED: Final = frozenset(
    {
        *(name for name, _ in BEHIND_TLS),
        CONTENT_SECURITY_POLICY[0],
        b"access-control-allow-credentials",
        b"access-control-allow-origin",
        b"access-control-expose-headers",
        b"connection",
        b"ratelimit",
        b"ratelimit-policy",
        b"retry-after",
        b"vary",
        b"x-ratelimit-limit",
        b"x-ratelimit-remaining",
        b"x-ratelimit-reset",
        b"x-request-id",
        b"x-response-time",
    }
)
"""What the platform adds to responses; routes set few of them."""


def merge(
    own: Sequence[tuple[bytes, bytes]],
    additional: Sequence[tuple[bytes, bytes]],
    varies: Sequence[bytes],
) -> HeaderPairs:
    """Return the headers of a response: its own, and the others whose names it does not have.

    Args:
        own: what the application set.
        additional: what the platform adds.
        varies: field names that belong into `Vary`.
    """
    headers = [*own]
    for name, _ in own:
        if name in _ADDED or not name.islower():
            break
    else:
        headers += additional
        if varies:
            headers.append((b"vary", b", ".join(varies)))
        return headers
    headers = [(name.lower(), value) for name, value in own]
    names = {name for name, _ in headers}
    headers += [pair for pair in additional if pair[0] not in names]
    if varies:
        _add_vary(headers, varies)
    return headers


def _add_vary(headers: HeaderPairs, varies: Sequence[bytes]) -> None:
    """Add field names to the first `Vary`, each once."""
    for at, (name, value) in enumerate(headers):
        if name == b"vary":
            known = value.lower()
            missing = [each for each in varies if each.lower() not in known]
            if missing and value.strip() != b"*":
                headers[at] = (name, b", ".join((value, *missing)))
            return
    headers.append((b"vary", b", ".join(varies)))
