"""A service under test: in this process, spoken to as ASGI, or as a real process on a real port."""

import http.client
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from httpx2 import ASGITransport, AsyncClient

from service_platform.settings import PlatformSettings
from service_testing import programs
from service_testing.errors import LocalServerError
from service_testing.local_server import POLL_SECONDS
from service_testing.ports import HOST, free_port
from service_testing.programs import ForkedProcess

if TYPE_CHECKING:
    import pytest

SECRET_KEY = "a-secret-key-that-only-tests-ever-use"  # noqa: S105
CLIENT_BASE_URL = "http://service.test"
CHEAP_HASHES = {"PASSWORD_HASH_MEMORY_KIB": "64", "PASSWORD_HASH_TIME_COST": "1"}
"""Settings of auth with which a login costs next to nothing; it refuses them where deployed."""


def environment_of(
    service: str, *, database_url: str, redis_url: str, auth_url: str
) -> dict[str, str]:
    """Returns the environment variables that make a service use the tests' servers."""
    return {
        "PROJECT_NAME": service,
        "ENVIRONMENT": "test",
        "SECRET_KEY": SECRET_KEY,
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "AUTH_URL": auth_url,
        "JWT_ISSUER": auth_url,
        "DRAIN_DELAY_SECONDS": "0",
    }


def without_env_file(
    patch: "pytest.MonkeyPatch", settings: type[PlatformSettings] = PlatformSettings
) -> None:
    """Makes every settings class forget a developer's own `.env`, until `patch` ends."""
    patch.setitem(settings.model_config, "env_file", None)
    for subclass in settings.__subclasses__():
        without_env_file(patch, subclass)


def application(service: str) -> FastAPI:
    """Returns a new application of a service, made by its `create_app` from the environment.

    Args:
        service: import name, such as `items`, or `module:factory`.
    """
    module, _, factory = service.partition(":")
    made: Any = getattr(
        import_module(module if factory else f"{module}.app"), factory or "create_app"
    )()
    if not isinstance(made, FastAPI):
        raise TypeError(f"{service} does not make a FastAPI application.")
    return made


@asynccontextmanager
async def started(app: FastAPI) -> AsyncIterator[FastAPI]:
    """Runs an application's lifespan around a block."""
    async with app.router.lifespan_context(app):
        yield app


@asynccontextmanager
async def client_of(app: FastAPI, **options: Any) -> AsyncIterator[AsyncClient]:
    """Yields an HTTP client that calls the application directly; it must be started.

    Args:
        app: the application.
        **options: of `httpx2.AsyncClient`, such as `headers`.
    """
    address = options.pop("client", ("127.0.0.1", 50_000))
    transport = ASGITransport(app, client=address)
    options.setdefault("base_url", CLIENT_BASE_URL)
    async with AsyncClient(transport=transport, **options) as client:
        yield client


class RunningService:
    """A service as a process of its own, as `python -m service_platform.server` starts it.

    A subclass names another `module` for its worker.

    Args:
        service: import name, such as `items`, or `module:factory`.
        environment: its settings; nothing of the tests' own environment is passed on but PATH.
        folder: where its log goes.
        arguments: further arguments of the server's command line.
        port: where it listens; without one the `PORT` of its environment, or a free one.
    """

    module = "service_platform.server"

    def __init__(
        self,
        service: str,
        environment: Mapping[str, str],
        folder: Path,
        arguments: tuple[str, ...] = (),
        port: int | None = None,
    ) -> None:
        self.service = service if ":" in service else f"{service}.app:create_app"
        self.port = port or int(environment.get("PORT", 0)) or free_port()
        self.url = f"http://{HOST}:{self.port}"
        self.log_file = folder / f"{service.partition(':')[0]}-{self.port}.log"
        self._environment = {"HOST": HOST, **environment, "PORT": str(self.port)}
        self._arguments = arguments
        self._folder = folder
        self.process: ForkedProcess | None = None

    def start(self, timeout: float = 20.0, *, wait: bool = True) -> "RunningService":
        """Starts the process; unless told otherwise, returns when it says that it is ready."""
        with self.log_file.open("ab") as log:
            self.process = programs.start(
                self.module,
                [self.service, *self._arguments],
                environment=self._environment,
                folder=self._folder,
                output=log,
            )
        if wait:
            self.wait_until_ready(timeout)
        return self

    def wait_until_ready(self, timeout: float = 20.0) -> None:
        """Returns when `/health/ready` answers 200.

        Raises:
            LocalServerError: with the end of its log, when it ended or took too long.
        """
        deadline = time.monotonic() + timeout
        while not self.is_ready():
            if self.process is None or self.process.poll() is not None:
                raise LocalServerError(f"{self.service} ended while starting:\n{self.output()}")
            if time.monotonic() > deadline:
                raise LocalServerError(f"{self.service} did not get ready:\n{self.output()}")
            time.sleep(POLL_SECONDS)

    def is_ready(self) -> bool:
        """Says whether `/health/ready` answers 200 now."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=5)
        try:
            connection.request("GET", "/health/ready", headers={"connection": "close"})
            return connection.getresponse().status == http.HTTPStatus.OK
        except OSError:
            return False
        finally:
            connection.close()

    def send_signal(self, number: signal.Signals) -> None:
        """Sends the process a signal."""
        if self.process is not None:
            self.process.send_signal(number)

    def stop(self, timeout: float = 15.0) -> int:
        """Ends the process with SIGTERM and returns its exit status; with SIGKILL when it hangs."""
        if self.process is None:
            return 0
        self.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def output(self) -> str:
        """Returns everything the process has written."""
        return self.log_file.read_text(errors="replace")
