"""Connects an HTTP client to public addresses only, and to the very addresses that were checked.

A name may answer a public address when it is checked and a private one a moment later (DNS
rebinding). So a name is resolved once for each connection, all of its addresses must be public, and
the connection is made to one of these addresses. TLS and `Host` go on with the name.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from ssl import SSLContext
from typing import Any, Final

import httpcore2
import httpx2

from service_platform.webhooks.addresses import is_public

MAX_ADDRESSES: Final = 3
"""Of a name, tried one after the other."""

_threads: Final = ThreadPoolExecutor(32, thread_name_prefix="webhook-names")
"""Of their own: names that take for ever to be resolved must hold up nothing but webhooks."""

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Returns the addresses of a name."""


class AddressRefusedError(Exception):
    """A name has an address that is not of the public internet."""


class UnknownHostError(Exception):
    """A name has no address."""


async def resolve(host: str, port: int) -> Sequence[str]:
    """Ask the system's resolver for the addresses of a name."""
    look_up = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    try:
        found = await asyncio.get_running_loop().run_in_executor(_threads, look_up)
    except (OSError, UnicodeError):
        raise UnknownHostError(host) from None
    return [str(address[0]) for *_, address in found]


class PublicNetwork(httpcore2.AsyncNetworkBackend):
    """Connects to public addresses.

    Args:
        allow_private: whether to connect to all others, too.
        resolve: returns the addresses of a name.
        inner: connects to an address.
    """

    def __init__(
        self,
        *,
        allow_private: bool,
        resolve: Resolve = resolve,
        inner: httpcore2.AsyncNetworkBackend | None = None,
    ) -> None:
        self._allow_private = allow_private
        self._resolve = resolve
        self._inner = inner or httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connect to an address of a name.

        Raises:
            AddressRefusedError: one of its addresses is not public.
            UnknownHostError: it has none.
        """
        addresses = list(dict.fromkeys(await self._resolve(host, port)))
        if not addresses:
            raise UnknownHostError(host)
        if not self._allow_private and not all(is_public(address) for address in addresses):
            raise AddressRefusedError(host)
        *others, last = addresses[:MAX_ADDRESSES]
        for address in others:
            try:
                return await self._inner.connect_tcp(
                    address, port, timeout, local_address, socket_options
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                continue
        return await self._inner.connect_tcp(last, port, timeout, local_address, socket_options)

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ARG002 - as the base class has it
        socket_options: Iterable[Any] | None = None,  # noqa: ARG002
    ) -> httpcore2.AsyncNetworkStream:
        """Refuse: no socket of this machine is public."""
        raise AddressRefusedError(path)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


class PublicTransport(httpx2.AsyncHTTPTransport):
    """The transport of an HTTP client by way of a network of our own.

    Args:
        network: makes the connections.
        verify: which certificate authorities are trusted.
        max_connections: open at once.
    """

    def __init__(
        self, network: httpcore2.AsyncNetworkBackend, verify: SSLContext, max_connections: int
    ) -> None:
        super().__init__(verify=verify, trust_env=False)
        # httpx2 has no parameter for it; httpcore2, which it is made of, does.
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=verify,
            max_connections=max_connections,
            max_keepalive_connections=max_connections // 2,
            keepalive_expiry=5.0,
            network_backend=network,
        )


__all__ = [
    "AddressRefusedError",
    "PublicNetwork",
    "PublicTransport",
    "Resolve",
    "UnknownHostError",
    "resolve",
]
