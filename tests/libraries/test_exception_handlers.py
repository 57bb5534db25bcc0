"""Handlers that an application registers itself: they win over what would answer otherwise."""

import threading
from collections.abc import Callable

import pytest
from fastapi import FastAPI, HTTPException, Request, Response, WebSocket
from fastapi.exception_handlers import http_exception_handler, request_validation_exception_handler
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from fastapi.testclient import TestClient
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.websockets import WebSocketDisconnect


class NoUnicornError(Exception):
    def __init__(self, name: str) -> None:
        self.name = name


class NoPinkUnicornError(NoUnicornError):
    pass


def with_routes(app: FastAPI) -> FastAPI:
    @app.get("/unicorns/{name}")
    async def unicorn(name: str) -> None:
        raise NoPinkUnicornError(name)

    @app.get("/numbers/{number}")
    def number(number: int) -> int:
        if number == 3:
            raise HTTPException(418, detail={"number": 3}, headers={"X-Tea": "green"})
        return number

    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError("the cause")

    return app


@pytest.mark.parametrize("way", ["decorator", "method", "option"])
def test_an_exception_of_ones_own_and_its_subclasses(
    application: Callable[..., FastAPI], open_client: Callable[..., TestClient], way: str
) -> None:
    async def no_unicorn(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, NoUnicornError)
        return JSONResponse({"message": f"{error.name} is not here"}, status_code=418)

    if way == "option":
        app = application(exception_handlers={NoUnicornError: no_unicorn})
    else:
        app = application()
        if way == "decorator":
            app.exception_handler(NoUnicornError)(no_unicorn)
        else:
            app.add_exception_handler(NoUnicornError, no_unicorn)
    answer = open_client(with_routes(app)).get("/unicorns/yolo")
    assert answer.status_code == 418
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {"message": "yolo is not here"}


def test_http_exceptions_the_routing_ones_included(
    application: Callable[..., FastAPI], open_client: Callable[..., TestClient]
) -> None:
    app = with_routes(application())

    @app.exception_handler(StarletteHTTPException)
    async def plain(request: Request, error: StarletteHTTPException) -> PlainTextResponse:
        return PlainTextResponse(f"own: {error.detail}", error.status_code, error.headers)

    client = open_client(app)
    tea = client.get("/numbers/3")
    assert (tea.status_code, tea.text) == (418, "own: {'number': 3}")
    assert tea.headers["x-tea"] == "green"
    assert client.get("/none").text == "own: Not Found"
    refused = client.post("/broken")
    assert (refused.status_code, refused.text) == (405, "own: Method Not Allowed")
    assert refused.headers.get_list("allow") == ["GET"]


def test_requests_that_are_not_valid(
    application: Callable[..., FastAPI], open_client: Callable[..., TestClient]
) -> None:
    app = with_routes(application())

    @app.exception_handler(RequestValidationError)
    async def own(request: Request, error: RequestValidationError) -> JSONResponse:
        return JSONResponse({"own": error.errors()[0]["loc"]}, status_code=400)

    answer = open_client(app).get("/numbers/three")
    assert (answer.status_code, answer.json()) == (400, {"own": ["path", "number"]})


def test_the_handlers_of_fastapi_may_be_reused(
    application: Callable[..., FastAPI], open_client: Callable[..., TestClient]
) -> None:
    app = with_routes(application())
    seen: list[str] = []

    @app.exception_handler(StarletteHTTPException)
    async def http(request: Request, error: StarletteHTTPException) -> Response:
        seen.append(type(error).__name__)
        return await http_exception_handler(request, error)

    @app.exception_handler(RequestValidationError)
    async def validation(request: Request, error: RequestValidationError) -> Response:
        seen.append(type(error).__name__)
        return await request_validation_exception_handler(request, error)

    client = open_client(app)
    assert client.get("/numbers/3").json() == {"detail": {"number": 3}}
    assert client.get("/numbers/three").json()["detail"][0]["type"] == "int_parsing"
    assert client.get("/none").json() == {"detail": "Not Found"}
    assert seen == ["HTTPException", "RequestValidationError", "HTTPException"]


def test_status_404(
    application: Callable[..., FastAPI], open_client: Callable[..., TestClient]
) -> None:
    app = with_routes(application())

    @app.exception_handler(404)
    async def nothing(request: Request, error: HTTPException) -> PlainTextResponse:
        return PlainTextResponse(f"nothing at {request.url.path}", status_code=404)

    client = open_client(app)
    assert client.get("/none").text == "nothing at /none"
    assert client.get("/numbers/3").status_code == 418


@pytest.mark.parametrize("registered_for", [500, Exception])
def test_unhandled_exceptions(
    application: Callable[..., FastAPI],
    open_client: Callable[..., TestClient],
    registered_for: int | type[Exception],
) -> None:
    app = with_routes(application())

    @app.exception_handler(registered_for)
    async def sorry(request: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"sorry": type(error).__name__}, status_code=503)

    answer = open_client(app).get("/broken")
    assert (answer.status_code, answer.json()) == (503, {"sorry": "RuntimeError"})


@pytest.mark.parametrize("registered", [True, False])
def test_an_unhandled_exception_is_answered_and_raised_on_to_the_server(
    application: Callable[..., FastAPI], registered: bool
) -> None:
    app = with_routes(application())
    if registered:
        app.add_exception_handler(500, lambda *_: PlainTextResponse("sorry", status_code=500))
    with TestClient(app) as client, pytest.raises(RuntimeError, match="the cause"):
        client.get("/broken")
    with TestClient(app, raise_server_exceptions=False) as client:
        answer = client.get("/broken")
    assert answer.status_code == 500
    assert "the cause" not in answer.text


@pytest.mark.parametrize("path", ["/unicorns/yolo", "/broken"])
def test_a_sync_handler_runs_in_a_worker_thread(
    application: Callable[..., FastAPI], open_client: Callable[..., TestClient], path: str
) -> None:
    app = with_routes(application())
    threads: dict[str, int] = {}

    @app.middleware("http")
    async def note(request: Request, call_next: Callable[..., object]) -> object:
        threads["loop"] = threading.get_ident()
        return await call_next(request)  # type: ignore[misc]

    def handle(request: Request, error: Exception) -> PlainTextResponse:
        threads["handler"] = threading.get_ident()
        return PlainTextResponse("handled", status_code=500)

    app.add_exception_handler(NoUnicornError, handle)
    app.add_exception_handler(Exception, handle)
    assert open_client(app).get(path).text == "handled"
    assert threads["handler"] != threads["loop"]


def test_an_exception_of_a_websocket(
    application: Callable[..., FastAPI], open_client: Callable[..., TestClient]
) -> None:
    app = application()

    @app.websocket("/chat")
    async def chat(websocket: WebSocket) -> None:
        await websocket.accept()
        raise NoUnicornError("yolo")

    @app.exception_handler(NoUnicornError)
    async def close(websocket: WebSocket, error: NoUnicornError) -> None:
        await websocket.close(4001, reason=error.name)

    with (
        open_client(app).websocket_connect("/chat") as connection,
        pytest.raises(WebSocketDisconnect) as closed,
    ):
        connection.receive_text()
    assert (closed.value.code, closed.value.reason) == (4001, "yolo")


def test_debug_shows_the_traceback(
    application: Callable[..., FastAPI], open_client: Callable[..., TestClient]
) -> None:
    answer = open_client(with_routes(application(debug=True))).get("/broken")
    assert answer.status_code == 500
    assert "RuntimeError: the cause" in answer.text
