"""Finds TCP ports of this machine for servers to listen on."""

import contextlib
import secrets
import socket

HOST = "127.0.0.1"
SERVER_PORTS = range(20_000, 32_000)

_given_out: set[int] = set()


def free_port() -> int:
    """Returns a TCP port of 127.0.0.1 on which nothing listens, each time another one.

    It is none of those that the system gives to outgoing connections: one of them might have it
    before the server that it is meant for.
    """
    while True:
        port = secrets.choice(SERVER_PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((HOST, port))
            if port not in _given_out:
                _given_out.add(port)
                return port
