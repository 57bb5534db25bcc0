"""The listening socket: an address that cannot be had is told in one sentence."""

import socket
from collections.abc import Callable
from subprocess import CompletedProcess

import pytest

from service_platform.server.listening import KEEP_ALIVE_PROBES, UNSENT_BYTES, ListenError, listen

RunServer = Callable[..., "CompletedProcess[str]"]


def test_a_taken_port_is_told(run_server: RunServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = run_server("waiting:make", "--port", str(port))
    assert ended.returncode == 1
    assert ended.stderr == (
        f"Port {port} is taken by another process; stop it or set PORT to a free one.\n"
    )


def test_an_address_of_another_machine_is_told(said: Callable[..., str]) -> None:
    assert "Cannot listen on 203.0.113.9" in said(
        "waiting:make", "--host", "203.0.113.9", "--port", "0"
    )


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
def test_the_unspecified_address_takes_ipv6_and_ipv4() -> None:
    (listener,) = listen("::", 0)
    with listener:
        port = listener.getsockname()[1]
        for host in "127.0.0.1", "::1":
            socket.create_connection((host, port), timeout=5).close()


def test_a_socket_passes_its_options_on_to_connections() -> None:
    (listener,) = listen("127.0.0.1", 0)
    with listener, socket.create_connection(listener.getsockname(), timeout=5):
        listener.settimeout(5)
        connection, _ = listener.accept()
        with connection:
            assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            options = {"TCP_NOTSENT_LOWAT": UNSENT_BYTES, **KEEP_ALIVE_PROBES}
            for name, value in options.items():
                if hasattr(socket, name):
                    number = getattr(socket, name)
                    assert connection.getsockopt(socket.IPPROTO_TCP, number) == value


def test_a_taken_port_is_an_error_of_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ListenError, match=rf"^Port {port} is taken by another process; .+\.$"):
            listen("127.0.0.1", port)
