"""Applications mounted into the application: FastAPI's, other ASGI ones, WSGI by a2wsgi."""

from collections.abc import Callable, Iterable

from a2wsgi import WSGIMiddleware
from a2wsgi.wsgi_typing import Environ, StartResponse
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import PlainTextResponse
from fastapi.testclient import TestClient
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import Receive, Scope, Send


async def bare(scope: Scope, receive: Receive, send: Send) -> None:
    """An ASGI application without a framework."""
    assert scope["type"] == "http"
    body = f"{scope['method']} {scope['root_path']} {scope['path']}".encode()
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def wsgi(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    start_response("201 Created", [("Content-Type", "text/plain"), ("X-From", "wsgi")])
    yield f"{environ['SCRIPT_NAME']} {environ['PATH_INFO']} ".encode()
    yield body


def test_an_application_without_a_framework(
    application: Callable[..., FastAPI], open_client: Callable[..., TestClient]
) -> None:
    app = application()
    app.mount("/bare", bare)

    @app.get("/own")
    async def own() -> str:
        return "own"

    client = open_client(app)
    assert client.get("/bare/some/path").text == "GET /bare /bare/some/path"
    assert client.post("/bare/").text == "POST /bare /bare/"
    assert client.get("/own").json() == "own"


def test_a_wsgi_application(
    application: Callable[..., FastAPI], open_client: Callable[..., TestClient]
) -> None:
    app = application()
    app.mount("/old", WSGIMiddleware(wsgi))  # type: ignore[arg-type]
    answer = open_client(app).post("/old/page", content=b"body")
    assert answer.status_code == 201
    assert answer.headers["x-from"] == "wsgi"
    assert answer.text == "/old /page body"


def test_an_application_of_starlette(
    application: Callable[..., FastAPI], open_client: Callable[..., TestClient]
) -> None:
    async def link(request: Request) -> PlainTextResponse:
        return PlainTextResponse(str(request.url_for("page", name="x")))

    app = application()
    app.mount("/pages", Starlette(routes=[Route("/{name}", link, name="page")]))
    client = open_client(app)
    assert client.get("/pages/a").text == "http://testserver/pages/x"
    missing = client.get("/pages/a/b")
    assert (missing.status_code, missing.text) == (404, "Not Found")


def test_an_application_of_fastapi_keeps_its_own_document_and_handlers(
    application: Callable[..., FastAPI], open_client: Callable[..., TestClient]
) -> None:
    app, sub = application(), FastAPI(title="Sub")

    @sub.get("/books/{number}")
    async def book(number: int) -> int:
        if number == 0:
            raise HTTPException(404, "no such book")
        if number == 9:
            raise RuntimeError("the cause")
        return number

    app.mount("/sub", sub)
    client = open_client(app)
    assert client.get("/sub/books/3").json() == 3
    missing = client.get("/sub/books/0")
    assert (missing.status_code, missing.json()) == (404, {"detail": "no such book"})
    assert client.get("/sub/books/x").status_code == 422
    assert client.get("/sub/books/9").status_code == 500
    document = client.get("/sub/openapi.json").json()
    assert document["info"]["title"] == "Sub"
    assert document["servers"] == [{"url": "/sub"}]
    assert client.get("/sub/docs").status_code == 200
    assert "/books/{number}" not in client.get("/openapi.json").json()["paths"]
