"""Limiters as dependencies: fastapi-limiter's, and the small ones that guides write themselves."""

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Annotated, ParamSpec, TypeVar

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, WebSocket
from fastapi.testclient import TestClient
from fastapi_limiter.depends import RateLimiter, WebSocketRateLimiter
from pyrate_limiter import Duration, Limiter, Rate

P = ParamSpec("P")
T = TypeVar("T")


def test_a_dependency_of_the_library_limits_a_route(
    application: Callable[..., FastAPI], open_client: Callable[..., TestClient]
) -> None:
    app = application()
    limiter = Limiter(Rate(2, Duration.MINUTE))

    @app.get("/limited", dependencies=[Depends(RateLimiter(limiter=limiter))])
    async def limited() -> str:
        return "done"

    @app.get("/free")
    async def free() -> str:
        return "done"

    client = open_client(app)
    assert [client.get("/limited").status_code for _ in range(3)] == [200, 200, 429]
    assert client.get("/free").status_code == 200
    limiter.close()


def test_a_dependency_of_the_library_limits_messages_of_a_websocket(
    application: Callable[..., FastAPI], open_client: Callable[..., TestClient]
) -> None:
    app = application()
    limiter = Limiter(Rate(1, Duration.MINUTE))

    @app.websocket("/chat")
    async def chat(websocket: WebSocket) -> None:
        await websocket.accept()
        limit = WebSocketRateLimiter(limiter=limiter)
        while True:
            word = await websocket.receive_text()
            try:
                await limit(websocket, context_key=word)
            except HTTPException as refused:
                await websocket.send_text(str(refused.status_code))
                await websocket.close()
                return
            await websocket.send_text("heard")

    with open_client(app).websocket_connect("/chat") as connection:
        connection.send_text("hello")
        assert connection.receive_text() == "heard"
        connection.send_text("hello")
        assert connection.receive_text() == "429"
    limiter.close()


class FewRequests:
    """The limiter of the guides: an object with `__call__`, which counts callers in a dict."""

    def __init__(self, allowed: int) -> None:
        self.allowed = allowed
        self.seen: dict[str, int] = {}

    async def __call__(self, request: Request) -> int:
        caller = request.headers.get("x-caller", "nobody")
        self.seen[caller] = self.seen.get(caller, 0) + 1
        if self.seen[caller] > self.allowed:
            raise HTTPException(429, "Too many requests", headers={"Retry-After": "60"})
        return self.allowed - self.seen[caller]


def test_a_limiter_of_ones_own_as_dependency_of_a_router_and_as_parameter(
    application: Callable[..., FastAPI], open_client: Callable[..., TestClient]
) -> None:
    app = application()
    router = APIRouter(prefix="/limited", dependencies=[Depends(FewRequests(1))])

    @router.get("/first")
    async def first() -> str:
        return "done"

    @router.get("/second")
    async def second() -> str:
        return "done"

    @app.get("/left")
    async def left(left: Annotated[int, Depends(FewRequests(2))]) -> int:
        return left

    app.include_router(router)
    client = open_client(app)
    assert client.get("/limited/first").status_code == 200
    refused = client.get("/limited/second")
    assert refused.status_code == 429
    assert refused.headers["retry-after"] == "60"
    assert client.get("/limited/second", headers={"x-caller": "another"}).status_code == 200
    assert [client.get("/left").json() for _ in range(2)] == [1, 0]
    assert client.get("/left").status_code == 429


def few_calls(allowed: int) -> Callable[[Callable[P, Awaitable[T]]], Callable[P, Awaitable[T]]]:
    """The same as a decorator, which keeps the signature that FastAPI reads."""

    def decorate(route: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
        limit = FewRequests(allowed)

        @wraps(route)
        async def limited(*args: P.args, **kwargs: P.kwargs) -> T:
            request = kwargs["request"]
            assert isinstance(request, Request)
            await limit(request)
            return await route(*args, **kwargs)

        return limited

    return decorate


def test_a_limiter_of_ones_own_as_decorator(
    application: Callable[..., FastAPI], open_client: Callable[..., TestClient]
) -> None:
    app = application()

    @app.get("/words/{count}")
    @few_calls(1)
    async def words(request: Request, count: int) -> list[str]:
        return ["word"] * count

    client = open_client(app)
    assert client.get("/words/2").json() == ["word", "word"]
    assert client.get("/words/2").status_code == 429
    assert client.get("/words/x").status_code == 422
