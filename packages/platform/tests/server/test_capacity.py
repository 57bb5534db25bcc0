"""More connections than a process can serve are refused, not left to chance."""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from commands import PLATFORM
from raw_http import ok, problem, statuses

from service_platform.server.capacity import connection_limit
from service_platform.settings import PlatformSettings

REQUEST = b"GET /version HTTP/1.1\r\nhost: x\r\n\r\n"


@contextlib.contextmanager
def connected(port: int, count: int) -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
            for _ in range(count)
        ]


def answer(client: socket.socket) -> bytes:
    with contextlib.suppress(OSError):
        client.sendall(REQUEST)
        return client.recv(65_536)
    return b""


@pytest.mark.parametrize(
    ("options", "least"),
    [
        pytest.param({"open_files": 256}, 60, id="256 open files"),
        pytest.param({"MAX_CONNECTIONS": "50"}, 50, id="50 connections"),
    ],
)
def test_too_many_connections_are_refused_with_one_warning(
    start: Callable[..., Any], options: dict[str, Any], least: int
) -> None:
    running = start(PLATFORM, **options)
    with connected(running.port, 400) as clients:
        answers = [statuses(answer(client)) for client in clients]
    served, refused = answers.count([200]), answers.count([503])
    assert served >= least
    # The others were told; only where no descriptor is left they are cut off.
    assert refused > 0
    assert answers[:served] == [[200]] * served
    with connected(running.port, 1) as (client,):
        assert statuses(answer(client)) == [200]
    warnings = running.events("connections_refused")
    assert len(warnings) == 1
    assert warnings[0]["limit"] == served
    with connected(running.port, 1) as (client,):
        client.sendall(REQUEST.replace(b"/version", b"/metrics"))
        text = read(client)
    name = 'http_server_connections_closed_total{reason="connection_limit"}'
    (line,) = [line for line in text.splitlines() if line.startswith(name)]
    assert float(line.split()[-1]) == 400 - served


def test_the_setting_limits_connections() -> None:
    assert connection_limit(PlatformSettings(environment="test", max_connections=7)) == 7


async def test_a_connection_too_many_gets_a_problem(make_server: Callable[..., Any]) -> None:
    server = make_server(ok, max_connections=1)
    async with server.listening() as at:
        _, first = await asyncio.open_connection(*at)
        reader, second = await asyncio.open_connection(*at)
        async with asyncio.timeout(5):
            told = problem(await reader.read())
        assert (told["status"], told["error"]) == (503, "service_unavailable")
        first.close()
        second.close()


def read(client: socket.socket) -> str:
    data = b""
    client.settimeout(1)
    with contextlib.suppress(TimeoutError):
        while part := client.recv(65_536):
            data += part
    return data.decode()
