"""Every test here runs twice, with the same assertions: on plain FastAPI and on the platform.

What a library does on FastAPI is therefore not remembered but observed, beside what it does here.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient

sys.path.insert(0, str(Path(__file__).parent / "support"))

from applications_under_test import KINDS, maker_of


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Which application the test runs with."""
    return str(request.param)


@pytest.fixture
def application(kind: str) -> Callable[..., FastAPI]:
    """Makes an application; takes what `FastAPI` takes."""
    return maker_of(kind)


@pytest.fixture
def open_client() -> Iterator[Callable[..., TestClient]]:
    """Starts an application and returns its client, which sees a 500 instead of the exception."""
    with ExitStack() as opened:

        def open_one(app: FastAPI, base_url: str = "http://testserver") -> TestClient:
            client = TestClient(app, base_url=base_url, raise_server_exceptions=False)
            return opened.enter_context(client)

        yield open_one


@pytest.fixture
def serve() -> Iterator[Callable[[FastAPI], str]]:
    """Serves an application on a real socket and returns its address."""
    with ExitStack() as running:

        def start(app: FastAPI) -> str:
            server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
            thread = threading.Thread(target=server.run)
            thread.start()

            def stop() -> None:
                server.should_exit = True
                thread.join(timeout=20)
                assert not thread.is_alive()

            running.callback(stop)
            deadline = time.monotonic() + 20
            while not server.started:
                assert thread.is_alive()
                assert time.monotonic() < deadline
                time.sleep(0.01)
            host, port = server.servers[0].sockets[0].getsockname()[:2]
            return f"http://{host}:{port}"

        yield start
