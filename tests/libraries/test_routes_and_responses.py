"""Routers, requests, responses and websockets, as in FastAPI's guide."""

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import (
    APIRouter,
    Body,
    Depends,
    FastAPI,
    File,
    Form,
    Query,
    Request,
    Response,
    UploadFile,
    WebSocket,
    WebSocketDisconnect,
    WebSocketException,
    status,
)
from fastapi.responses import (
    FileResponse,
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    StreamingResponse,
)
from fastapi.testclient import TestClient
from pydantic import BaseModel, Field


class Kind(StrEnum):
    NOVEL = "novel"
    POEM = "poem"


class Book(BaseModel):
    title: str = Field(min_length=1)
    kind: Kind = Kind.NOVEL
    price: float | None = None


class BookWithSecret(Book):
    secret: str


def test_routers_in_routers_and_links_to_routes(
    application: Callable[..., FastAPI], open_client: Callable[..., TestClient]
) -> None:
    app = application()
    inner = APIRouter(prefix="/books", tags=["books"])

    @inner.get("/{number}", name="one")
    async def one(request: Request, number: int) -> str:
        return str(request.url_for("one", number=number + 1))

    @inner.api_route(
        "/{number}/pages/{path:path}", methods=["GET", "PURGE"], include_in_schema=False
    )
    def page(number: int, path: str) -> list[int | str]:
        return [number, path]

    outer = APIRouter(prefix="/v2")
    outer.include_router(inner)
    app.include_router(outer, prefix="/api", tags=["api"])
    app.include_router(inner, prefix="/old", deprecated=True)
    app.add_api_route("/plain", lambda: "plain", methods=["GET"])

    client = open_client(app)
    assert client.get("/api/v2/books/1").json() == "http://testserver/api/v2/books/2"
    assert client.get("/old/books/3/pages/a/b").json() == [3, "a/b"]
    assert client.request("PURGE", "/old/books/3/pages/a").status_code == 200
    assert client.get("/plain").json() == "plain"
    assert app.url_path_for("one", number=7) == "/api/v2/books/7"
    paths = client.get("/openapi.json").json()["paths"]
    assert set(paths["/api/v2/books/{number}"]["get"]["tags"]) == {"api", "books"}
    assert paths["/old/books/{number}"]["get"]["deprecated"] is True


def test_a_slash_too_much_is_redirected_unless_switched_off(
    application: Callable[..., FastAPI], open_client: Callable[..., TestClient]
) -> None:
    for option, expected in ((True, 307), (False, 404)):
        app = application(redirect_slashes=option)

        @app.get("/books")
        async def books() -> None: ...

        answer = open_client(app).get("/books/?page=2", follow_redirects=False)
        assert answer.status_code == expected
        if option:
            assert answer.headers["location"] == "http://testserver/books?page=2"


def test_methods_that_a_path_does_not_have(
    application: Callable[..., FastAPI], open_client: Callable[..., TestClient]
) -> None:
    app = application()

    @app.get("/books")
    async def books() -> None: ...

    @app.options("/books")
    async def options() -> str:
        return "own"

    client = open_client(app)
    assert client.options("/books").json() == "own"
    refused = client.post("/books")
    assert refused.status_code == 405
    assert "GET" in refused.headers["allow"]


def test_parameters_and_bodies(
    application: Callable[..., FastAPI], open_client: Callable[..., TestClient]
) -> None:
    app = application()

    @app.post("/books", status_code=status.HTTP_201_CREATED)
    async def add(
        book: Book, words: Annotated[list[str], Query()], copies: Annotated[int, Body(ge=1)]
    ) -> dict[str, Any]:
        return {"title": book.title, "words": words, "copies": copies}

    @app.post("/covers")
    async def cover(
        title: Annotated[str, Form()],
        small: Annotated[bytes, File()],
        files: list[UploadFile],
    ) -> dict[str, Any]:
        contents = [(await file.read()).decode() for file in files]
        names = [file.filename for file in files]
        return {"title": title, "small": len(small), "names": names, "contents": contents}

    client = open_client(app)
    body = {"book": {"title": "Emma", "kind": "novel"}, "copies": 2}
    added = client.post("/books", params={"words": ["a", "b"]}, json=body)
    assert added.status_code == 201
    assert added.json() == {"title": "Emma", "words": ["a", "b"], "copies": 2}
    assert client.post("/books", params={"words": "a"}, json={"copies": 0}).status_code == 422
    sent = client.post(
        "/covers",
        data={"title": "Emma"},
        files=[("small", b"1234"), ("files", ("a.txt", b"A")), ("files", ("b.txt", b"B"))],
    )
    assert sent.json() == {
        "title": "Emma",
        "small": 4,
        "names": ["a.txt", "b.txt"],
        "contents": ["A", "B"],
    }


def test_a_body_that_is_too_large(
    application: Callable[..., FastAPI], open_client: Callable[..., TestClient]
) -> None:
    app = application(max_body_size=10)

    @app.post("/words")
    async def words(request: Request) -> int:
        return len(await request.body())

    client = open_client(app)
    assert client.post("/words", content=b"x" * 10).json() == 10
    assert client.post("/words", content=b"x" * 11).status_code == 413
    assert client.post("/words", content=iter([b"x" * 6, b"x" * 5])).status_code == 413


def test_response_models(
    application: Callable[..., FastAPI], open_client: Callable[..., TestClient]
) -> None:
    app = application()

    @app.get("/book", response_model=Book, response_model_exclude_none=True)
    async def book() -> BookWithSecret:
        return BookWithSecret(title="Emma", secret="hidden")

    @app.get("/wrong")
    async def wrong() -> Book:
        return {"name": "Emma"}  # type: ignore[return-value]

    client = open_client(app)
    assert client.get("/book").json() == {"title": "Emma", "kind": "novel"}
    assert client.get("/wrong").status_code == 500


def test_responses_of_every_class(
    application: Callable[..., FastAPI], open_client: Callable[..., TestClient], tmp_path: Path
) -> None:
    (tmp_path / "file.txt").write_text("file")
    app = application(default_response_class=PlainTextResponse)
    answers: dict[str, Callable[[], Response]] = {
        "html": lambda: HTMLResponse("<p>"),
        "json": lambda: JSONResponse({"a": 1}, status_code=299, headers={"X-A": "1"}),
        "file": lambda: FileResponse(tmp_path / "file.txt", filename="name.txt"),
        "redirect": lambda: RedirectResponse("/html", status_code=303),
        "stream": lambda: StreamingResponse(iter([b"a", b"b"]), media_type="text/csv"),
        "empty": lambda: Response(status_code=204),
    }

    @app.get("/text")
    async def text() -> str:
        return "text"

    @app.get("/cookies")
    async def cookies(response: Response) -> str:
        response.set_cookie("a", "1", httponly=True)
        response.set_cookie("b", "2")
        response.status_code = 202
        return "set"

    @app.get("/{name}")
    async def answer(name: str) -> Response:
        return answers[name]()

    client = open_client(app)
    assert client.get("/text").text == "text"
    assert client.get("/text").headers["content-type"] == "text/plain; charset=utf-8"
    set_cookies = client.get("/cookies")
    assert set_cookies.status_code == 202
    assert [each.partition(";")[0] for each in set_cookies.headers.get_list("set-cookie")] == [
        "a=1",
        "b=2",
    ]
    assert client.get("/html").headers["content-type"] == "text/html; charset=utf-8"
    as_json = client.get("/json")
    assert (as_json.status_code, as_json.json(), as_json.headers["x-a"]) == (299, {"a": 1}, "1")
    file = client.get("/file")
    assert file.text == "file"
    assert file.headers["content-disposition"] == 'attachment; filename="name.txt"'
    assert client.get("/redirect", follow_redirects=False).headers["location"] == "/html"
    stream = client.get("/stream")
    assert (stream.text, stream.headers["content-type"]) == ("ab", "text/csv; charset=utf-8")
    empty = client.get("/empty")
    assert (empty.status_code, empty.content) == (204, b"")


def test_websockets_with_dependencies(
    application: Callable[..., FastAPI], open_client: Callable[..., TestClient]
) -> None:
    app = application()
    present: list[str] = []

    async def reader(websocket: WebSocket, token: str | None = None) -> str:
        if token is None:
            raise WebSocketException(code=status.WS_1008_POLICY_VIOLATION)
        return token

    @app.websocket("/rooms/{room}")
    async def talk(
        websocket: WebSocket, room: str, reader: Annotated[str, Depends(reader)]
    ) -> None:
        await websocket.accept(subprotocol="chat")
        present.append(reader)
        try:
            while True:
                said = await websocket.receive_json()
                await websocket.send_json({"room": room, "reader": reader, "said": said})
        except WebSocketDisconnect:
            present.remove(reader)

    client = open_client(app)
    with client.websocket_connect("/rooms/red?token=Emma", ["chat"]) as connection:
        assert str(connection.accepted_subprotocol) == "chat"
        connection.send_json({"word": "hello"})
        answer = connection.receive_json()
        assert answer == {"room": "red", "reader": "Emma", "said": {"word": "hello"}}
        assert present == ["Emma"]
    assert not present
    with (
        pytest.raises(WebSocketDisconnect) as refused,
        client.websocket_connect("/rooms/red"),
    ):
        pass
    assert refused.value.code == status.WS_1008_POLICY_VIOLATION
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/nowhere"):
        pass
