"""Opens the listening socket before anything else starts, so that a taken port is told at once."""

import asyncio
import errno
import socket
from typing import Final

from uvicorn.protocols.utils import get_remote_addr

BACKLOG: Final = 2048
UNSENT_BYTES: Final = 131_072
"""What the kernel holds of an answer that was not sent yet. The rest stays in the process, which
sees by that whether the client reads."""
KEEP_ALIVE_PROBES: Final = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}
"""A client that vanished without a word is noticed after two minutes."""
_MAPPED: Final = "::ffff:"


class ListenError(Exception):
    """The address cannot be listened on; the message says why in one sentence."""


def listen(host: str, port: int) -> list[socket.socket]:
    """Listen on `host` and `port`; `::` takes IPv6 and IPv4, port 0 takes a free one.

    Raises:
        ListenError: the port is taken, not allowed, or the address is not of this machine.
    """
    both = host == "::" and socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server(
            (host, port), family=family, backlog=BACKLOG, dualstack_ipv6=both
        )
    except OSError as error:
        raise ListenError(_explain(host, port, error)) from None
    listener.setblocking(False)
    prepare(listener)
    return [listener]


def prepare(listener: socket.socket) -> None:
    """Set what every connection inherits from its listening socket."""
    if listener.family not in {socket.AF_INET, socket.AF_INET6}:
        return
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    options = {"TCP_NOTSENT_LOWAT": UNSENT_BYTES, **KEEP_ALIVE_PROBES}
    for name, value in options.items():
        number = getattr(socket, name, None)  # not every system has all of them
        if number is not None:
            listener.setsockopt(socket.IPPROTO_TCP, number, value)


def client_address(transport: asyncio.Transport) -> tuple[str, int] | None:
    """Return address and port of a client; one of IPv4 as such on a socket of both (RFC 4291)."""
    client = get_remote_addr(transport)
    if client is not None and client[0].startswith(_MAPPED) and "." in client[0]:
        return client[0].removeprefix(_MAPPED), client[1]
    return client


def _explain(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} is taken by another process; stop it or set PORT to a free one."
    if error.errno == errno.EACCES:
        return f"Port {port} needs rights this process does not have; set PORT to 1024 or higher."
    return f"Cannot listen on {host}: it is not an address of this machine; set HOST."
