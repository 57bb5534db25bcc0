"""Which addresses a webhook may be sent to: those of the public internet, and no others.

Whoever may enter a URL could otherwise have the service send requests to what only the service can
reach: its own network, the metadata service of its cloud, itself (server-side request forgery).
"""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final
from urllib.parse import urlsplit

MAX_URL_LENGTH: Final = 2_048

_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")
_NAT64: Final = IPv6Network("64:ff9b::/96")
"""IPv4 addresses as a translator shows them (RFC 6052, section 2.1)."""
_TUNNELS: Final = (IPv6Network("2001::/32"), IPv6Network("2002::/16"))
"""Teredo and 6to4 wrap IPv4 addresses; nobody serves anything there any more."""


class UrlError(ValueError):
    """A URL that no webhook is sent to; the message is one sentence for who entered it."""


def is_public(address: str) -> bool:
    """Return whether an IP address is one of the public internet."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, IPv4Address):
        return _is_public_ipv4(parsed)
    if parsed.ipv4_mapped is not None:
        return _is_public_ipv4(parsed.ipv4_mapped)
    if parsed in _NAT64:
        return _is_public_ipv4(IPv4Address(int(parsed) & 0xFFFF_FFFF))
    return _is_public_ipv6(parsed)


def check_url(url: str, *, allow_private: bool) -> str:
    """Check the URL of a subscription, as far as that can be told without asking for its name.

    Args:
        url: as it was entered.
        allow_private: whether `http`, any port and any address are right, as in development.

    Returns:
        The URL.

    Raises:
        UrlError: it cannot be one.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise UrlError("Must be a URL") from None
    if len(url) > MAX_URL_LENGTH or not url.isascii() or not url.isprintable() or " " in url:
        raise UrlError(f"Must have at most {MAX_URL_LENGTH} visible ASCII characters")
    schemes = {"https", "http"} if allow_private else {"https"}
    if parts.scheme not in schemes or not host or "\\" in url:
        raise UrlError("Must be a URL that begins with https://")
    if "@" in parts.netloc:
        raise UrlError("Must have no user name and no password")
    if "#" in url:
        raise UrlError("Must have no fragment")
    if allow_private:
        return url
    if port not in {None, 443}:
        raise UrlError("Must have the port 443 or none")
    if _is_address(host) and not is_public(host):
        raise UrlError("Must be an address of the public internet")
    return url


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _is_public_ipv4(address: IPv4Address) -> bool:
    return address.is_global and not address.is_multicast and not address.is_reserved


def _is_public_ipv6(address: IPv6Address) -> bool:
    return (
        address in _GLOBAL_UNICAST
        and address.is_global
        and address.scope_id is None
        and not any(address in tunnel for tunnel in _TUNNELS)
    )


__all__ = ["UrlError", "check_url", "is_public"]
