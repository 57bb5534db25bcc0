"""Response headers that the platform adds where a route has not set them itself.

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


def add_missing(headers: HeaderPairs, additional: Sequence[tuple[bytes, bytes]]) -> None:
    """Add each header of `additional` whose name is not among `headers` yet.

    Args:
        headers: of the response, with names in lower case; changed in place.
        additional: the platform's. One that is there twice (`Link`) is added twice.
    """
    names = {name for name, _ in headers}
    if names.isdisjoint([name for name, _ in additional]):
        headers.extend(additional)
    else:
        headers.extend(pair for pair in additional if pair[0] not in names)


def add_vary(headers: HeaderPairs, *names: bytes) -> None:
    """Add field names to `Vary`, each once.

    Args:
        headers: of the response, with names in lower case; changed in place.
        names: such as `b"Origin"`.
    """
    for at, (name, value) in enumerate(headers):
        if name == b"vary":
            known = value.lower()
            missing = [each for each in names if each.lower() not in known]
            if missing and value.strip() != b"*":
                headers[at] = (name, b", ".join((value, *missing)))
            return
    headers.append((b"vary", b", ".join(names)))


def lower_names(headers: Sequence[tuple[bytes, bytes]]) -> HeaderPairs:
    """Return a copy of response headers with names in lower case, as ASGI wants them."""
    return [pair if pair[0].islower() else (pair[0].lower(), pair[1]) for pair in headers]
