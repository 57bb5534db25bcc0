"""A small service behind the real verifier, and an issuer whose every answer a test can choose."""

import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Annotated, Any

import httpx2
import orjson
import pytest
from fastapi import APIRouter

from service_platform.app import ServiceApp, create_app
from service_platform.identity import (
    CurrentPrincipal,
    OptionalPrincipal,
    Principal,
    RequireRole,
    RequireScope,
    TokenVerifier,
)
from service_platform.settings import PlatformSettings
from service_testing.services import client_of, started
from service_testing.tokens import TestTokens


class Clock:
    """A clock that stands still until a test sets it.

    Attributes:
        now: what it shows, in seconds.
    """

    def __init__(self, now: float = 1_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Issuer:
    """An HTTP server in the place of auth.

    Attributes:
        body: what it answers.
        status: with which status.
        delay: after how many seconds.
        max_age: for how long the answer may be kept.
        requests: how often it was asked.
    """

    def __init__(self) -> None:
        self.body = b""
        self.status = 200
        self.delay = 0.0
        self.max_age: int | None = 300
        self.requests = 0
        self.seen: list[tuple[str, bytes, str | None]] = []
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.answer(b"")

            def do_POST(self) -> None:
                self.answer(self.rfile.read(int(self.headers["content-length"])))

            def answer(self, sent: bytes) -> None:
                issuer.requests += 1
                issuer.seen.append((self.path, sent, self.headers.get("authorization")))
                time.sleep(issuer.delay)
                self.send_response(issuer.status)
                if issuer.max_age is not None:
                    self.send_header("cache-control", f"public, max-age={issuer.max_age}")
                self.send_header("content-length", str(len(issuer.body)))
                self.end_headers()
                self.wfile.write(issuer.body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def publish(self, *keys: Any) -> None:
        self.body = orjson.dumps({"keys": [key.as_dict(private=False) for key in keys]})

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    made = Issuer()
    yield made
    made.stop()


@pytest.fixture
def settings_for(redis_url: str) -> Callable[..., PlatformSettings]:
    """Settings of a service named users that takes tokens of the given issuer."""

    def make(auth_url: str, **changes: Any) -> PlatformSettings:
        values = {
            "environment": "test",
            "project_name": "users",
            "auth_url": auth_url,
            "jwt_issuer": auth_url,
            "redis_url": redis_url,
            "rate_limit_enabled": False,
            **changes,
        }
        return PlatformSettings(_env_file=None, **values)

    return make


def guarded_routes() -> APIRouter:
    router = APIRouter(prefix="/things")

    @router.get("/mine")
    async def mine(principal: CurrentPrincipal) -> dict[str, Any]:
        return {"subject": str(principal.subject), "roles": sorted(principal.roles)}

    @router.get("/open")
    async def open_to_all(principal: OptionalPrincipal) -> dict[str, Any]:
        return {"subject": str(principal.subject) if principal else None}

    @router.post("")
    async def write(principal: Annotated[Principal, RequireScope("users:write")]) -> None:
        return None

    @router.delete("", dependencies=[RequireRole("admin")])
    async def clear() -> None:
        return None

    return router


@pytest.fixture
async def guarded_app(
    tokens: TestTokens, settings_for: Callable[..., PlatformSettings]
) -> AsyncIterator[ServiceApp]:
    settings = settings_for(tokens.auth_url)
    app = create_app(settings, routers=[guarded_routes()], resources=[TokenVerifier(settings)])
    async with started(app):
        yield app


@pytest.fixture
async def guarded(guarded_app: ServiceApp) -> AsyncIterator[httpx2.AsyncClient]:
    """Client of a service that demands tokens."""
    async with client_of(guarded_app) as client:
        yield client
