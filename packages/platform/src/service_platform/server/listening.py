"""Opens the listening socket before anything else starts, so that a taken port is told at once."""

import errno
import socket
from typing import Final

BACKLOG: Final = 2048


class ListenError(Exception):
    """The address cannot be listened on; the message says why in one sentence."""


def listen(host: str, port: int) -> list[socket.socket]:
    """Listen on `host` and `port`; 0 takes a free port.

    Raises:
        ListenError: the port is taken, not allowed, or the address is not of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise ListenError(_explain(host, port, error)) from None
    listener.setblocking(False)
    return [listener]


def _explain(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} is taken by another process; stop it or set PORT to a free one."
    if error.errno == errno.EACCES:
        return f"Port {port} needs rights this process does not have; set PORT to 1024 or higher."
    return f"Cannot listen on {host}: it is not an address of this machine; set HOST."
