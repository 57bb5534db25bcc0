"""slowapi: its decorator, its handler, its middlewares, with limits kept in memory."""

from collections.abc import Callable

import pytest
from fastapi import FastAPI, Request, Response
from fastapi.testclient import TestClient
from slowapi import Limiter, _rate_limit_exceeded_handler
from slowapi.errors import RateLimitExceeded
from slowapi.middleware import SlowAPIASGIMiddleware, SlowAPIMiddleware
from slowapi.util import get_remote_address

pytestmark = pytest.mark.filterwarnings(
    "ignore:'asyncio.iscoroutinefunction' is deprecated:DeprecationWarning:slowapi"
)


def caller(request: Request) -> str:
    return request.headers.get("x-caller", "nobody")


@pytest.mark.parametrize("path", ["/async", "/sync"])
def test_the_decorator_limits_a_route(
    application: Callable[..., FastAPI], open_client: Callable[..., TestClient], path: str
) -> None:
    limiter = Limiter(key_func=caller, headers_enabled=True)
    app = application()
    app.state.limiter = limiter
    app.add_exception_handler(RateLimitExceeded, _rate_limit_exceeded_handler)

    @app.get("/async")
    @limiter.limit("2/minute")
    async def limited(request: Request, response: Response) -> str:
        return "done"

    @app.get("/sync")
    @limiter.limit("2/minute")
    def limited_in_a_thread(request: Request, response: Response) -> str:
        return "done"

    client = open_client(app)
    for left in ("1", "0"):
        answer = client.get(path)
        assert answer.status_code == 200
        assert answer.headers.get_list("x-ratelimit-limit") == ["2"]
        assert answer.headers.get_list("x-ratelimit-remaining") == [left]
    refused = client.get(path)
    assert refused.status_code == 429
    assert refused.json() == {"error": "Rate limit exceeded: 2 per 1 minute"}
    assert 0 < int(refused.headers["retry-after"]) <= 61
    assert client.get(path, headers={"x-caller": "another"}).status_code == 200


@pytest.mark.parametrize("middleware", [SlowAPIMiddleware, SlowAPIASGIMiddleware])
def test_a_middleware_applies_default_limits(
    application: Callable[..., FastAPI],
    open_client: Callable[..., TestClient],
    middleware: type[SlowAPIMiddleware],
) -> None:
    limiter = Limiter(key_func=get_remote_address, default_limits=["1/minute"])
    app = application()
    app.state.limiter = limiter
    app.add_exception_handler(RateLimitExceeded, _rate_limit_exceeded_handler)
    app.add_middleware(middleware)  # type: ignore[arg-type]

    @app.get("/limited")
    async def limited() -> str:
        return "done"

    @app.get("/free")
    @limiter.exempt
    async def free() -> str:
        return "done"

    client = open_client(app)
    assert [client.get("/limited").status_code for _ in range(2)] == [200, 429]
    assert [client.get("/free").status_code for _ in range(3)] == [200, 200, 200]
