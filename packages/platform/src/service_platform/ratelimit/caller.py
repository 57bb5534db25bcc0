"""Identify the caller whose quota a request uses (the key function of other rate limiters).

A rate limit key is short, and no caller can choose it at will. Keys of accounts, OAuth clients,
addresses and free texts have different prefixes, so one can never pass for another.
"""

import re
from functools import lru_cache
from hashlib import blake2b
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import TYPE_CHECKING, Final, Self
from uuid import UUID

from service_platform.ratelimit.policy import By

if TYPE_CHECKING:
    from service_platform.context import RequestContext

_is_safe_in_key: Final = re.compile(r"[A-Za-z0-9._-]{1,40}").fullmatch
_NO_ROLES: Final[frozenset[str]] = frozenset()
_IPV4_MAPPED: Final = bytes(10) + b"\xff\xff"
_MAX_CACHED_ADDRESSES: Final = 8_192


class RateLimitCaller:
    """Describe a caller by everything that a policy can count by.

    Args:
        address: IP address of the client as resolved behind trusted proxies, never a raw header.
        account: the authenticated account.
        client: OAuth client of the access token.
        roles: of the account, for tiers.
        key: free text for policies with `by="key"`, such as the e-mail address of a login. Only a
            digest of it is stored.
    """

    __slots__ = ("account", "address", "client", "key", "roles")

    def __init__(
        self,
        address: str = "",
        *,
        account: UUID | None = None,
        client: str | None = None,
        roles: frozenset[str] = _NO_ROLES,
        key: str | None = None,
    ) -> None:
        self.address = address
        self.account = account
        self.client = client
        self.roles = roles
        self.key = key

    @classmethod
    def of(cls, context: "RequestContext") -> Self:
        """Return the caller of a request."""
        principal = context.principal
        if principal is None:
            return cls(context.client_address)
        return cls(
            context.client_address,
            account=principal.subject,
            client=principal.client_id,
            roles=principal.roles,
        )

    def key_for(self, by: By) -> str:
        """Return the rate limit key for policies with this `by`.

        It has at most 64 ASCII characters and no braces, which delimit the hash tag of a Redis key.

        Raises:
            ValueError: the policy counts by key and the caller has none.
        """
        if by == "account":
            return f"a:{self.account.hex}" if self.account else address_key(self.address)
        if by == "client":
            return f"c:{key_part(self.client)}" if self.client else address_key(self.address)
        if by == "key":
            if self.key is None:
                raise ValueError("This policy counts by key; give RateLimitCaller(key=...).")
            return f"k:{digest(self.key)}"
        return address_key(self.address)


@lru_cache(maxsize=_MAX_CACHED_ADDRESSES)
def address_key(address: str) -> str:
    """Return the rate limit key of an IP address: IPv4 as it is, IPv6 by its /64 network.

    A subscriber usually has a whole /64 (RFC 6177), so counting single IPv6 addresses would not
    limit an attacker. Anything that is not an IP address (the peer of a Unix socket) becomes a
    digest.
    """
    try:
        if ":" not in address:
            inet_pton(AF_INET, address)  # strict: exactly four decimal numbers
            return f"i:{address}"
        packed = inet_pton(AF_INET6, address.partition("%")[0])
    except (OSError, ValueError):  # not an address, or it contains a NUL or a lone surrogate
        return f"n:{digest(address)}"
    if packed.startswith(_IPV4_MAPPED):
        return f"i:{inet_ntop(AF_INET, packed[12:])}"
    return f"i:{inet_ntop(AF_INET6, packed[:8] + bytes(8))}/64"


def key_part(text: str) -> str:
    """Return a text for use in a Redis key: unchanged when short and plain, else its digest.

    A digest starts with `~`, which an unchanged text never contains.
    """
    return text if _is_safe_in_key(text) else f"~{digest(text)}"


def digest(text: str) -> str:
    """Hash a text with BLAKE2b to 128 bits, which nobody can find a collision for."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
