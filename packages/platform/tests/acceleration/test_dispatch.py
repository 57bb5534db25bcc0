"""Requests of compiled endpoints go around FastAPI's middleware stack where nothing is lost."""

import importlib
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from fastapi import APIRouter, FastAPI
from fastapi.responses import PlainTextResponse
from starlette.applications import Starlette
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service_platform.acceleration.endpoints import CompiledEndpoint
from service_platform.app import ServiceApp, create_app
from service_platform.errors import NotFound
from service_platform.settings import PlatformSettings


class OwnError(Exception):
    """Of a service."""


async def endpoint(kind: str) -> str:
    if kind == "problem":
        raise NotFound("No such thing.")
    if kind == "own":
        raise OwnError("hunter2")
    if kind == "failure":
        raise ZeroDivisionError("hunter2")
    return kind


def make_app(*, acceleration: bool = True, **options: Any) -> ServiceApp:
    router = APIRouter()
    router.get("/it/{kind}")(endpoint)
    router.post("/it/{kind}")(endpoint)
    settings = PlatformSettings(
        _env_file=None,
        environment="test",
        rate_limit_enabled=False,
        log_level="CRITICAL",
        acceleration=acceleration,
    )
    return create_app(settings, routers=[router], **options)


async def get(app: ServiceApp, kind: str = "fine", method: str = "GET") -> httpx2.Response:
    transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
        return await client.request(
            method, f"/api/v1/it/{kind}", headers={"x-request-id": "0b9d4d52"}
        )


@pytest.fixture
def compiled_calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths of requests that a compiled endpoint answered."""
    calls: list[str] = []
    original = CompiledEndpoint.__call__

    async def note(self: CompiledEndpoint, request: Request) -> Response:
        calls.append(request.url.path)
        return await original(self, request)

    monkeypatch.setattr(CompiledEndpoint, "__call__", note)
    return calls


@pytest.fixture
def stack_calls(monkeypatch: pytest.MonkeyPatch) -> Callable[[ServiceApp], list[str]]:
    """Notes the paths of requests that enter FastAPI's middleware stack."""

    def watch(app: ServiceApp) -> list[str]:
        calls: list[str] = []
        application = app._platform_middleware._app._app  # type: ignore[attr-defined]

        async def note(scope: Scope, receive: Receive, send: Send) -> None:
            calls.append(scope["path"])
            await application(scope, receive, send)

        monkeypatch.setattr(app._platform_middleware._app, "_app", note)
        return calls

    return watch


async def test_after_the_first_request_the_stack_is_gone_around(
    compiled_calls: list[str], stack_calls: Callable[[ServiceApp], list[str]]
) -> None:
    app = make_app()
    entered = stack_calls(app)
    for _ in range(3):
        assert (await get(app)).json() == "fine"
    assert len(entered) == 1  # FastAPI builds the stack for the first request
    assert len(compiled_calls) == 3
    assert (await get(app, method="POST")).json() == "fine"
    assert len(entered) == 2


@pytest.mark.parametrize("kind", ["problem", "own", "failure"])
async def test_exceptions_meet_the_handlers_as_without_acceleration(kind: str) -> None:
    async def own(request: Request, error: Exception) -> Response:
        seen.append(type(error))
        return PlainTextResponse("own answer", 418)

    async def unexpected(request: Request, error: Exception) -> Response:
        seen.append(type(error))
        return PlainTextResponse("unexpected", 500)

    seen: list[type[Exception]] = []
    answers = []
    for acceleration in (True, False):
        app = make_app(
            acceleration=acceleration, exception_handlers={OwnError: own, 500: unexpected}
        )
        await get(app)
        response = await get(app, kind)
        content: Any = response.text
        if kind == "problem":
            content = {**response.json(), "instance": "differs", "trace_id": "differs"}
        headers = {
            name: value for name, value in response.headers.items() if name != "x-response-time"
        }
        answers.append((response.status_code, content, headers, [*seen]))
        seen.clear()
    assert answers[0] == answers[1]


async def test_an_unhandled_exception_is_raised_on_to_the_server() -> None:
    app = make_app()
    await get(app)
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app), base_url="http://test"
    ) as client:
        with pytest.raises(ZeroDivisionError):
            await client.get("/api/v1/it/failure")


async def test_a_failing_endpoint_is_called_once(compiled_calls: list[str]) -> None:
    calls = 0
    app = make_app()

    @app.get("/count")
    async def count() -> str:
        nonlocal calls
        calls += 1
        raise NotFound

    await get(app)
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
        assert (await client.get("/count")).status_code == 404
    assert calls == 1
    assert compiled_calls[-1] == "/count"


async def test_middleware_of_the_service_sees_every_request() -> None:
    seen: list[int] = []

    class Watcher:
        def __init__(self, app: ASGIApp) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            async def watch(message: Message) -> None:
                if message["type"] == "http.response.start":
                    seen.append(message["status"])
                await send(message)

            await self.app(scope, receive, watch)

    app = make_app()
    app.add_middleware(Watcher)
    for kind in ("fine", "fine", "problem"):
        await get(app, kind)
    assert seen == [200, 200, 404]


@pytest.mark.parametrize("owner", [Starlette, FastAPI])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_patched_application_sees_every_request(
    owner: type[Any], when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Monitoring libraries replace `Starlette.__call__` to begin a span for each request."""
    seen: list[str] = []

    def patch() -> None:
        original = owner.__call__

        async def traced(self: Any, scope: Scope, receive: Receive, send: Send) -> None:
            seen.append(scope["path"])
            await original(self, scope, receive, send)

        monkeypatch.setattr(owner, "__call__", traced)

    if when == "before":
        patch()
    app = make_app()
    if when == "after":
        patch()
    for _ in range(3):
        assert (await get(app)).json() == "fine"
    assert seen == ["/api/v1/it/fine"] * 3


async def test_a_patch_that_comes_with_a_new_stack_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenTelemetry's instrumentation rebuilds the middleware stack of a running application."""
    seen: list[str] = []
    app = make_app()
    await get(app)
    original = Starlette.__call__

    async def traced(self: Any, scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["path"])
        await original(self, scope, receive, send)

    monkeypatch.setattr(Starlette, "__call__", traced)
    app.middleware_stack = app.build_middleware_stack()
    await get(app)
    assert seen == ["/api/v1/it/fine"]


async def test_a_layer_of_another_class_sees_every_request() -> None:
    seen: list[str] = []

    class OwnErrors(ServerErrorMiddleware):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            seen.append(scope["path"])
            await super().__call__(scope, receive, send)

    app = make_app()
    await get(app)
    outermost: Any = app.middleware_stack
    app.middleware_stack = OwnErrors(outermost.app, handler=outermost.handler)
    await get(app)
    assert seen == ["/api/v1/it/fine"]


async def test_a_patched_request_handler_is_called_for_every_request(
    compiled_calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sentry replaces `fastapi.routing.get_request_handler` to name transactions."""
    routing = importlib.import_module("fastapi.routing")
    seen: list[str] = []
    original = routing.get_request_handler

    def patched(*args: Any, **options: Any) -> Any:
        handler = original(*args, **options)

        async def traced(*args: Any, **options: Any) -> Any:
            seen.append("handled")
            return await handler(*args, **options)

        return traced

    monkeypatch.setattr(routing, "get_request_handler", patched)
    app = make_app()
    for _ in range(3):
        await get(app)
    assert len(seen) == 3
    assert compiled_calls == []


async def test_overridden_dependencies_are_left_to_fastapi(compiled_calls: list[str]) -> None:
    app = make_app()
    await get(app)
    app.dependency_overrides[endpoint] = endpoint
    await get(app)
    assert len(compiled_calls) == 1
