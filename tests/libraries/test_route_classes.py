"""Classes of routes with `get_route_handler`: the examples of FastAPI's guide."""

import gzip
import time
from collections.abc import Callable, Coroutine
from typing import Annotated, Any, ClassVar

import pytest
from fastapi import APIRouter, Body, FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class GzipRequest(Request):
    async def body(self) -> bytes:
        if not hasattr(self, "_body"):
            body = await super().body()
            if "gzip" in self.headers.getlist("Content-Encoding"):
                body = gzip.decompress(body)
            self._body = body
        return self._body


class GzipRoute(APIRoute):
    def get_route_handler(self) -> Handler:
        original = super().get_route_handler()

        async def custom(request: Request) -> Response:
            return await original(GzipRequest(request.scope, request.receive))

        return custom


class ValidationErrorLoggingRoute(APIRoute):
    def get_route_handler(self) -> Handler:
        original = super().get_route_handler()

        async def custom(request: Request) -> Response:
            try:
                return await original(request)
            except RequestValidationError as error:
                body = await request.body()
                detail = {"errors": error.errors(), "body": body.decode()}
                raise HTTPException(status_code=422, detail=detail) from error

        return custom


class TimedRoute(APIRoute):
    timed: ClassVar[list[str]] = []

    def get_route_handler(self) -> Handler:
        original = super().get_route_handler()

        async def custom(request: Request) -> Response:
            self.timed.append(request.url.path)
            before = time.monotonic()
            response = await original(request)
            response.headers["X-Response-Time"] = str(time.monotonic() - before)
            return response

        return custom


@pytest.mark.parametrize("of", ["application", "router"])
def test_a_request_class_that_unpacks_the_body(
    application: Callable[..., FastAPI], open_client: Callable[..., TestClient], of: str
) -> None:
    app = application()
    router = APIRouter(route_class=GzipRoute)
    if of == "application":
        app.router.route_class = GzipRoute

    @(app if of == "application" else router).post("/sum")
    async def total(numbers: Annotated[list[int], Body()]) -> dict[str, int]:
        return {"sum": sum(numbers)}

    app.include_router(router)
    client = open_client(app)
    packed = client.post(
        "/sum",
        content=gzip.compress(b"[1, 2, 3]"),
        headers={"content-encoding": "gzip", "content-type": "application/json"},
    )
    assert packed.json() == {"sum": 6}
    assert client.post("/sum", json=[4]).json() == {"sum": 4}


def test_a_route_that_sees_the_body_of_an_invalid_request(
    application: Callable[..., FastAPI], open_client: Callable[..., TestClient]
) -> None:
    app = application()
    app.router.route_class = ValidationErrorLoggingRoute
    seen: list[Any] = []

    @app.post("/sum")
    async def total(numbers: Annotated[list[int], Body()]) -> int:
        return sum(numbers)

    @app.exception_handler(HTTPException)
    async def keep(request: Request, error: HTTPException) -> Response:
        seen.append(error.detail)
        return Response(status_code=error.status_code)

    client = open_client(app)
    assert client.post("/sum", json=["one"]).status_code == 422
    assert seen[0]["body"] == '["one"]'
    assert seen[0]["errors"][0]["loc"] == ("body", 0)
    assert client.post("/sum", json=[1]).json() == 1


def test_a_route_that_adds_a_header(
    application: Callable[..., FastAPI], open_client: Callable[..., TestClient]
) -> None:
    TimedRoute.timed.clear()
    app = application()
    router = APIRouter(route_class=TimedRoute)

    @app.get("/plain")
    async def plain() -> str:
        return "done"

    @router.get("/timed")
    def timed() -> str:
        return "done"

    app.include_router(router, prefix="/v1")
    client = open_client(app)
    client.get("/plain")
    (measured,) = client.get("/v1/timed").headers.get_list("x-response-time")
    assert float(measured) >= 0
    assert TimedRoute.timed == ["/v1/timed"]
