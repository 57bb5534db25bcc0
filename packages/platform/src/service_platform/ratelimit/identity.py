"""Who a quota belongs to, as a key that is short, and that no caller can choose at will.

Keys of accounts, clients, addresses and free texts start differently, so none can pass for another.
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

_is_plain: Final = re.compile(r"[A-Za-z0-9._-]{1,40}").fullmatch
_NO_ROLES: Final[frozenset[str]] = frozenset()
_IPV4_MAPPED: Final = bytes(10) + b"\xff\xff"
_KNOWN_ADDRESSES: Final = 8_192


class Identity:
    """Everything about a caller that a policy can count by.

    Args:
        address: address of the client as resolved behind trusted proxies, never a raw header.
        account: who is authenticated.
        client: OAuth client of the token.
        roles: of the account, for tiers.
        key: free text for policies with `by="key"`, such as the address somebody tries to log in
            with. Only a digest of it is kept.
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
        """The caller of a request."""
        principal = context.principal
        if principal is None:
            return cls(context.client_address)
        return cls(
            context.client_address,
            account=principal.subject,
            client=principal.client_id,
            roles=principal.roles,
        )

    def counted_by(self, by: By) -> str:
        """The key for policies with this `by`: at most 64 characters of ASCII without braces.

        Raises:
            ValueError: a policy counts by key and none was given.
        """
        if by == "account":
            return f"a:{self.account.hex}" if self.account else address_key(self.address)
        if by == "client":
            return f"c:{plain(self.client)}" if self.client else address_key(self.address)
        if by == "key":
            if self.key is None:
                raise ValueError("This policy counts by key; give Identity(key=...).")
            return f"k:{digest(self.key)}"
        return address_key(self.address)


@lru_cache(maxsize=_KNOWN_ADDRESSES)
def address_key(address: str) -> str:
    """The key of an address: itself for IPv4, its /64 network for IPv6.

    One subscriber usually holds a whole /64 (RFC 6177), so single addresses would cost an attacker
    nothing. What is no address (a Unix socket's peer) becomes a digest.
    """
    try:
        if ":" not in address:
            inet_pton(AF_INET, address)  # strict: exactly four decimal numbers
            return f"i:{address}"
        packed = inet_pton(AF_INET6, address.partition("%")[0])
    except (OSError, ValueError):  # no address; a NUL or a lone surrogate in it
        return f"n:{digest(address)}"
    if packed.startswith(_IPV4_MAPPED):
        return f"i:{inet_ntop(AF_INET, packed[12:])}"
    return f"i:{inet_ntop(AF_INET6, packed[:8] + bytes(8))}/64"


def plain(text: str) -> str:
    """The text where it is short and plain, else a digest that cannot be mistaken for one."""
    return text if _is_plain(text) else f"~{digest(text)}"


def digest(text: str) -> str:
    """A 128-bit digest: fixed length, and two texts with one digest cannot be found."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
