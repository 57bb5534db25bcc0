"""Where the gateway is: its ports, its paths, its files."""

import socket
from pathlib import Path
from typing import Final

from devtools.project import state_dir
from service_testing.ports import free_port

HTTP_PORT: Final = 8000
HTTPS_PORT: Final = 8443
"""What people remember; a free port is taken where a program of theirs has it, and that is said."""

HOSTS: Final = ("localhost", "127.0.0.1", "::1")
"""Names that the gateway answers to. Any other is a page elsewhere whose name leads here."""

READY_PATH: Final = "/dev/ready"
OWN_PREFIX: Final = "/dev"
"""Paths of the front page; `/` is the page itself."""

DOCS_PREFIX: Final = "/docs"
"""`/docs/users` is the documentation of users, which production keeps inside."""


def folder() -> Path:
    """Where the gateway keeps everything: configuration, log, certificates."""
    return state_dir() / "gateway"


def configuration_path() -> Path:
    """What Caddy is told."""
    return folder() / "caddy.json"


def access_log_path() -> Path:
    """One JSON object for each request."""
    return folder() / "access.log"


def storage_path() -> Path:
    """The local authority: its keys and the certificates it has made."""
    return folder() / "authority"


def root_certificate_path() -> Path:
    """What a client must trust for `--https`."""
    return storage_path() / "pki" / "authorities" / "local" / "root.crt"


def url_of(port: int, scheme: str = "http") -> str:
    """The address that people are told."""
    return f"{scheme}://localhost:{port}"


def listening_addresses(port: int) -> list[str]:
    """Loopback addresses to listen on: IPv6 too, where this machine has it.

    A browser may try either first for `localhost`.
    """
    families = [f"127.0.0.1:{port}"]
    return [*families, f"[::1]:{port}"] if _has_ipv6() else families


def wanted_port(port: int) -> int:
    """Return this port, or a free one where another program has it on one of the addresses."""
    if _is_free("127.0.0.1", port) and (not _has_ipv6() or _is_free("::1", port)):
        return port
    return free_port()


def _has_ipv6() -> bool:
    return socket.has_ipv6 and _is_free("::1", 0)


def _is_free(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError:
        return False
    return True
