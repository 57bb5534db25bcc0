"""Starts real server processes, and servers of the test's own event loop."""

import asyncio
import contextlib
import gc
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn
from starlette.types import ASGIApp
from uvicorn.server import ServerState

from service_platform.resources import Lifecycle
from service_platform.server.__main__ import main
from service_platform.server.connection import HttpConnection
from service_platform.server.listening import prepare
from service_platform.server.sharing import Sharing
from service_platform.server.states import Limits
from service_platform.settings import PlatformSettings
from service_testing.ports import free_port
from service_testing.services import without_env_file

HERE = Path(__file__).parent
SECONDS = 5.0

sys.path.insert(0, str(HERE / "support"))
pytest.register_assert_rewrite("serving_tests", "drain_tests")


@dataclass
class Running:
    """A server process, its address and where it logs."""

    process: "subprocess.Popen[str]"
    url: str
    port: int
    log: Path

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        return self.process.wait(30)

    def events(self, name: str) -> list[dict[str, Any]]:
        """What it has logged under a name; lines wait a moment before they are written."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line[:1] == "{"]
        return [line for line in lines if line["event"] == name]


Start = Callable[..., Running]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a server; `{port}` in its command is a free port."""
    with _starting(tmp_path) as run:
        yield run


@pytest.fixture
def run_server() -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Runs the server's command line in a process of its own until it ends."""

    def run(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        support = str(HERE / "support")
        return subprocess.run(
            [sys.executable, "-m", "service_platform.server", *arguments],
            cwd=HERE,
            env={**os.environ, "PYTHONPATH": support, "HOST": "127.0.0.1", **environment},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    return run


@pytest.fixture
def said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., str]]:
    """What a start says that ends before it serves; in this process, a new one takes a second."""
    without_env_file(monkeypatch)
    monkeypatch.chdir(HERE)
    monkeypatch.syspath_prepend(HERE / "support")

    def run(*arguments: str) -> str:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 1
        return capsys.readouterr().err

    yield run
    gc.enable()  # which a server does when it serves


@pytest.fixture(scope="module")
def start_for_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """The same for servers that several tests use."""
    with _starting(tmp_path_factory.mktemp("servers")) as run:
        yield run


@contextlib.contextmanager
def _starting(directory: Path) -> Iterator[Start]:
    started: list[Running] = []

    def run(command: str, *, open_files: int | None = None, **environment: str) -> Running:
        port = free_port()
        log = directory / f"{port}.log"
        if open_files is not None:
            command = f"ulimit -n {open_files}; {command}"
        with log.open("w") as output:
            process = subprocess.Popen(
                ["/bin/sh", "-c", command.format(port=port)],
                cwd=HERE,
                env={
                    **os.environ,
                    "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                    "PYTHONPATH": str(HERE / "support"),
                    "PORT": str(port),
                    "HOST": "127.0.0.1",
                    **environment,
                },
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        running = Running(process, f"http://127.0.0.1:{port}", port, log)
        started.append(running)
        wait_until_ready(running)
        return running

    try:
        yield run
    finally:
        for running in started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(running.process.pid, signal.SIGKILL)
            running.process.wait()


def wait_until_ready(running: Running) -> None:
    deadline = time.monotonic() + 60
    with httpx2.Client(verify=False) as client:
        while time.monotonic() < deadline and running.process.poll() is None:
            try:
                if client.get(f"{running.url}/health/startup").status_code == 200:
                    return
            except httpx2.TransportError:
                time.sleep(0.02)
    running.process.kill()
    pytest.fail(f"did not start: {running.log.read_text()}")


@dataclass
class Server:
    """A server of this event loop, without the platform's application."""

    app: ASGIApp
    sharing: Sharing
    config: uvicorn.Config
    state: ServerState

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[tuple[str, int]]:
        """Accept connections; gives host and port."""

        def connection() -> HttpConnection:
            return HttpConnection(self.config, self.state, {}, sharing=self.sharing)

        server = await asyncio.get_running_loop().create_server(connection, "127.0.0.1", 0)
        prepare(server.sockets[0])
        async with server:
            yield server.sockets[0].getsockname()
            for task in self.state.tasks:
                task.cancel()


@pytest.fixture(params=[True, False], ids=["accelerated", "uvicorn"])
def acceleration(request: pytest.FixtureRequest) -> bool:
    """Both ways a response is sent."""
    accelerated: bool = request.param
    return accelerated


MakeServer = Callable[..., Server]


@pytest.fixture
def make_server(acceleration: bool) -> MakeServer:
    """Makes a server for an application, with limits and settings of its own."""

    def make(app: ASGIApp, *, limits: Limits | None = None, **settings: Any) -> Server:
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            ws_max_size=4096,
            ws_ping_interval=settings.pop("ping", 20.0),
            ws_ping_timeout=0.2,
        )
        config.load()
        told = PlatformSettings(environment="test", acceleration=acceleration, **settings)
        return Server(app, Sharing(told, Lifecycle(()), limits), config, ServerState())

    return make


Serving = Callable[
    ..., contextlib.AbstractAsyncContextManager[tuple[asyncio.StreamReader, asyncio.StreamWriter]]
]
Exchange = Callable[..., Awaitable[bytes]]


@pytest.fixture
def serving(make_server: MakeServer) -> Serving:
    """Serves an application for one connection, which is what comes out."""

    @contextlib.asynccontextmanager
    async def serve(
        app: ASGIApp, **options: Any
    ) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        async with make_server(app, **options).listening() as address:
            reader, writer = await asyncio.open_connection(*address, limit=2**24)
            yield reader, writer
            writer.close()

    return serve


@pytest.fixture
def exchange(serving: Serving) -> Exchange:
    """Sends parts to an application; gives what the server says until it closes the connection."""

    async def exchanged(app: ASGIApp, *parts: bytes, **options: Any) -> bytes:
        async with serving(app, **options) as (reader, writer):
            for part in parts:
                writer.write(part)
                await asyncio.sleep(0)
            async with asyncio.timeout(SECONDS):
                return await reader.read()

    return exchanged
