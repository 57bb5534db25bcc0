"""Starts real server processes, and servers of the test's own event loop."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
import uvicorn
from starlette.types import ASGIApp
from uvicorn.server import ServerState

from service_platform.server.protocol import BoundedHttpProtocol
from service_testing.ports import free_port

HERE = Path(__file__).parent
SECONDS = 5.0


@dataclass
class Running:
    """A server process and its address."""

    process: "subprocess.Popen[str]"
    url: str
    port: int

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        return self.process.wait(20)


Start = Callable[..., Running]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a server command; `{port}` in its arguments is a free port."""
    with _starting() as run:
        yield run


@pytest.fixture(scope="module")
def start_for_all() -> Iterator[Start]:
    """The same for servers that several tests use."""
    with _starting() as run:
        yield run


@contextlib.contextmanager
def _starting() -> Iterator[Start]:
    started: list[Running] = []

    def run(*command: str, **environment: str) -> Running:
        port = free_port()
        process = subprocess.Popen(
            [sys.executable, "-m", *(part.format(port=port) for part in command)],
            cwd=HERE,
            env={**os.environ, "PYTHONPATH": str(HERE), "PORT": str(port), **environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        running = Running(process, f"http://127.0.0.1:{port}", port)
        started.append(running)
        wait_until_ready(running)
        return running

    try:
        yield run
    finally:
        for running in started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(running.process.pid, signal.SIGKILL)
            running.process.communicate()


def wait_until_ready(running: Running) -> None:
    deadline = time.monotonic() + 20
    with httpx2.Client(verify=False) as client:
        while time.monotonic() < deadline and running.process.poll() is None:
            try:
                if client.get(f"{running.url}/health/startup").status_code == 200:
                    return
            except httpx2.TransportError:
                time.sleep(0.02)
    running.process.kill()
    pytest.fail(f"did not start: {running.process.communicate()[1]}")


@contextlib.asynccontextmanager
async def _serving(
    app: ASGIApp, kind: type[BoundedHttpProtocol] = BoundedHttpProtocol
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Serve `app` for one connection, which is what comes out."""
    config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off")
    config.load()

    def protocol() -> BoundedHttpProtocol:
        return kind(config=config, server_state=ServerState(), app_state={})

    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        yield reader, writer
        writer.close()


async def _exchange(
    app: ASGIApp, *parts: bytes, kind: type[BoundedHttpProtocol] = BoundedHttpProtocol
) -> bytes:
    """Send the parts; everything the server says until it closes the connection."""
    async with _serving(app, kind) as (reader, writer):
        for part in parts:
            writer.write(part)
        async with asyncio.timeout(SECONDS):
            return await reader.read()


Serving = Callable[
    ..., contextlib.AbstractAsyncContextManager[tuple[asyncio.StreamReader, asyncio.StreamWriter]]
]
Exchange = Callable[..., Awaitable[bytes]]


@pytest.fixture
def serving() -> Serving:
    """Serves an application for one connection."""
    return _serving


@pytest.fixture
def exchange() -> Exchange:
    """Sends parts to an application; gives what the server says until it closes the connection."""
    return _exchange
