"""Every test here runs twice, with the same assertions: on plain FastAPI and on the platform.

What a library does on FastAPI is therefore not remembered but observed, beside what it does here.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient

sys.path.insert(0, str(Path(__file__).parent / "support"))

from applications_under_test import ACCELERATED, KINDS, NOT_ACCELERATED, maker_of

CORS_OF_THE_PLATFORM = "the platform's CORS rules are applied beside those of the application"
KNOWN_DIFFERENCES: Final = {
    "test_a_preflight_request_is_answered_by_own_rules[{}-http://localhost:3000]": (
        CORS_OF_THE_PLATFORM
    ),
    "test_another_origin_is_refused[{}-https://shop.example]": CORS_OF_THE_PLATFORM,
    "test_another_origin_is_refused[{}-http://localhost:3000]": CORS_OF_THE_PLATFORM,
    "test_an_origin_of_this_machine_is_another_origin_too[{}]": CORS_OF_THE_PLATFORM,
    "test_a_route_may_answer_options_itself[{}]": CORS_OF_THE_PLATFORM,
    "test_security_schemes_are_those_of_the_application[{}]": (
        "the platform's security schemes replace those of the application in the document"
    ),
}
"""Tests that fail on the platform, and why; one that passes fails, so that it is removed here."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Expects the known differences."""
    for kind in (ACCELERATED, NOT_ACCELERATED):
        for name, reason in KNOWN_DIFFERENCES.items():
            for item in items:
                if item.name == name.format(kind):
                    item.add_marker(pytest.mark.xfail(reason=reason, strict=True))


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
