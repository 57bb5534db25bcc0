"""Who the client is behind proxies: forwarded headers count only from trusted networks."""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address

from starlette.types import Scope

Headers = dict[bytes, bytes]


class TrustedProxies:
    """Resolves client address and scheme of a request.

    Args:
        networks: networks of the proxies in front of the service; empty means none is believed.
    """

    def __init__(self, networks: Sequence[IPv4Network | IPv6Network]) -> None:
        self._networks = tuple(networks)
        self._is_trusted = lru_cache(maxsize=4096)(self._lookup)

    def resolve(self, scope: Scope, headers: Headers) -> tuple[str, str]:
        """Return client address and scheme (`http` or `https`).

        Of `X-Forwarded-For` the rightmost address that is no trusted proxy is the client: what
        stands left of it was written by strangers.
        """
        peer = scope.get("client")
        address: str = peer[0] if peer else ""
        scheme: str = scope.get("scheme", "http")
        if not self._networks or not self._is_trusted(address):
            return address, scheme
        forwarded_proto = headers.get(b"x-forwarded-proto")
        if forwarded_proto is not None:
            proto = forwarded_proto.rsplit(b",", 1)[-1].strip().lower()
            if proto in {b"http", b"https"}:
                scheme = proto.decode("ascii")
        if b"x-forwarded-for" in headers:
            address = self._client(scope, address)
        return address, scheme

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


def _parse(hop: str) -> str | None:
    """An address as proxies write it, with or without brackets and port."""
    text = hop.strip('"')
    if text.startswith("["):
        text = text[1:].split("]", 1)[0]
    elif text.count(":") == 1:
        text = text.split(":", 1)[0]
    try:
        return str(ip_address(text))
    except ValueError:
        return None
