"""Reads client address, scheme, host and path prefix from proxies (`X-Forwarded-*`).

Forwarded headers count only from trusted networks. What they say is put into the ASGI scope, so
that `request.client`, `request.url`, `url_for` and `root_path` are right for everything inside.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

from starlette.types import Scope

Headers = dict[bytes, bytes]

_is_prefix: Final = re.compile(rb"(/[A-Za-z0-9._~-]+)+").fullmatch
_is_host: Final = re.compile(rb"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?").fullmatch
_SCHEMES: Final = {
    b"http": ("http", "ws"),
    b"https": ("https", "wss"),
    b"ws": ("http", "ws"),
    b"wss": ("https", "wss"),
}


class TrustedProxies:
    """Puts what trusted proxies forwarded into the scope of a request.

    Args:
        networks: networks of the proxies in front of the service; empty means none is believed.
        root_path: path prefix that proxies take off when they do not say one themselves.
    """

    def __init__(
        self, networks: Sequence[IPv4Network | IPv6Network], *, root_path: str = ""
    ) -> None:
        self._networks = tuple(networks)
        self._root_path = root_path.rstrip("/")
        self._is_trusted = lru_cache(maxsize=4096)(self._lookup)

    def apply(self, scope: Scope, headers: Headers) -> str:
        """Change `client`, `scheme`, `root_path` and the `Host` header of a scope.

        Of `X-Forwarded-For` the rightmost address that is no trusted proxy is the client: what
        stands left of it was written by strangers. Of the other headers the last value counts,
        which the nearest proxy wrote.

        Returns:
            The client's address, empty where there is none.
        """
        peer = scope.get("client")
        address: str = peer[0] if peer else ""
        prefix = self._root_path
        if self._networks and self._is_trusted(address):
            if b"x-forwarded-for" in headers:
                client = self._client(scope, address)
                if client != address:
                    # The port of the proxy's connection says nothing about this address.
                    scope["client"], address = (client, 0), client
            self._apply_url(scope, headers)
            prefix = _prefix(headers) or prefix
        if prefix and not scope.get("root_path"):
            _put_prefix(scope, prefix)
        return address

    def _apply_url(self, scope: Scope, headers: Headers) -> None:
        forwarded = headers.get(b"x-forwarded-proto")
        if forwarded is not None:
            schemes = _SCHEMES.get(_last(forwarded).lower())
            if schemes is not None:
                scope["scheme"] = schemes[scope["type"] == "websocket"]
        forwarded = headers.get(b"x-forwarded-host")
        if forwarded is not None:
            host = _last(forwarded)
            if _is_host(host):
                headers[b"host"] = host
                others = [pair for pair in scope["headers"] if pair[0] != b"host"]
                scope["headers"] = [(b"host", host), *others]

    def _client(self, scope: Scope, peer: str) -> str:
        hops = [
            hop.strip()
            for name, value in scope["headers"]
            if name == b"x-forwarded-for"
            for hop in value.decode("latin-1").split(",")
        ]
        client = peer
        for hop in reversed(hops):
            address = _parse(hop)
            if address is None:
                break
            client = address
            if not self._is_trusted(address):
                break
        return client

    def _lookup(self, address: str) -> bool:
        try:
            parsed = ip_address(address)
        except ValueError:
            return False
        if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
            parsed = parsed.ipv4_mapped
        return any(
            parsed in network for network in self._networks if network.version == parsed.version
        )


def _last(value: bytes) -> bytes:
    return value.rsplit(b",", 1)[-1].strip()


def _prefix(headers: Headers) -> str:
    forwarded = headers.get(b"x-forwarded-prefix")
    if forwarded is None:
        return ""
    prefix = _last(forwarded).rstrip(b"/")
    return prefix.decode("ascii") if _is_prefix(prefix) else ""


def _put_prefix(scope: Scope, prefix: str) -> None:
    """Set `root_path`, and put it before `path` as ASGI wants it (HTTP connection scope)."""
    scope["root_path"] = prefix
    scope["path"] = prefix + scope["path"]
    raw_path = scope.get("raw_path")
    if raw_path is not None:
        scope["raw_path"] = prefix.encode("ascii") + raw_path


def _parse(hop: str) -> str | None:
    """Parse an address as proxies write it, with or without brackets and port."""
    text = hop.strip('"')
    if text.startswith("["):
        text = text[1:].split("]", 1)[0]
    elif text.count(":") == 1:
        text = text.split(":", 1)[0]
    try:
        return str(ip_address(text))
    except ValueError:
        return None
