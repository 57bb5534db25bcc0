"""Starlette's middlewares and middlewares of one's own, by add_middleware and @app.middleware."""

import gzip
from collections.abc import Awaitable, Callable

import pytest
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.middleware.gzip import GZipMiddleware
from fastapi.middleware.httpsredirect import HTTPSRedirectMiddleware
from fastapi.middleware.trustedhost import TrustedHostMiddleware
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from fastapi.testclient import TestClient
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

Next = Callable[[Request], Awaitable[Response]]


def with_routes(app: FastAPI) -> FastAPI:
    @app.get("/words")
    async def words() -> str:
        return "word " * 400

    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError("the cause")

    @app.get("/forbidden")
    async def forbidden() -> None:
        raise HTTPException(403)

    return app


def test_gzip(application: Callable[..., FastAPI], open_client: Callable[..., TestClient]) -> None:
    app = with_routes(application())
    app.add_middleware(GZipMiddleware, minimum_size=500)

    @app.get("/short")
    async def short() -> str:
        return "word"

    @app.get("/streamed")
    async def streamed() -> StreamingResponse:
        return StreamingResponse(iter(["word " * 200, "word " * 200]), media_type="text/plain")

    client = open_client(app)
    with client.stream("GET", "/words", headers={"accept-encoding": "gzip"}) as answer:
        assert answer.headers.get_list("content-encoding") == ["gzip"]
        raw = b"".join(answer.iter_raw())
        assert len(raw) == int(answer.headers["content-length"])
        assert gzip.decompress(raw).startswith(b'"word word')
    assert "Accept-Encoding" in answer.headers["vary"]
    streamed_answer = client.get("/streamed", headers={"accept-encoding": "gzip"})
    assert streamed_answer.headers.get_list("content-encoding") == ["gzip"]
    assert streamed_answer.text == "word " * 400
    for path, accepted in {"/short": "gzip", "/words": "identity"}.items():
        plain = client.get(path, headers={"accept-encoding": accepted})
        assert "content-encoding" not in plain.headers


def test_trusted_hosts(
    application: Callable[..., FastAPI], open_client: Callable[..., TestClient]
) -> None:
    app = with_routes(application())
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=["shop.example", "*.shop.example"])
    client = open_client(app)
    for host, status in {"shop.example": 200, "eu.shop.example": 200, "other.example": 400}.items():
        assert client.get("/words", headers={"host": host}).status_code == status


def test_https_redirect(
    application: Callable[..., FastAPI], open_client: Callable[..., TestClient]
) -> None:
    app = with_routes(application())
    app.add_middleware(HTTPSRedirectMiddleware)
    client = open_client(app)
    answer = client.get("/words?a=1", follow_redirects=False)
    assert answer.status_code == 307
    assert answer.headers["location"] == "https://testserver/words?a=1"
    assert client.get("https://testserver/words").status_code == 200


def test_a_function_as_middleware_sees_every_answer(
    application: Callable[..., FastAPI], open_client: Callable[..., TestClient]
) -> None:
    app = with_routes(application())
    seen: list[int] = []

    @app.middleware("http")
    async def mark(request: Request, call_next: Next) -> Response:
        request.state.marked = True
        response = await call_next(request)
        seen.append(response.status_code)
        response.headers["X-Marked"] = "yes"
        return response

    @app.get("/marked")
    async def marked(request: Request) -> bool:
        return bool(request.state.marked)

    client = open_client(app)
    paths = {"/words": 200, "/marked": 200, "/forbidden": 403, "/none": 404}
    for path, status in paths.items():
        answer = client.get(path)
        assert answer.status_code == status
        assert answer.headers.get_list("x-marked") == ["yes"]
    assert seen == list(paths.values())
    assert client.get("/marked").json() is True


def test_a_middleware_may_answer_itself_and_catch_what_a_route_raises(
    application: Callable[..., FastAPI], open_client: Callable[..., TestClient]
) -> None:
    class Guard(BaseHTTPMiddleware):
        def __init__(self, app: ASGIApp, word: str) -> None:
            super().__init__(app)
            self.word = word

        async def dispatch(self, request: Request, call_next: Next) -> Response:
            if request.headers.get("x-word") != self.word:
                return PlainTextResponse("say the word", status_code=401)
            try:
                return await call_next(request)
            except RuntimeError as error:
                return JSONResponse({"caught": str(error)}, status_code=502)

    app = with_routes(application())
    app.add_middleware(Guard, word="please")
    client = open_client(app)
    refused = client.get("/words")
    assert (refused.status_code, refused.text) == (401, "say the word")
    client.headers["x-word"] = "please"
    assert client.get("/words").status_code == 200
    broken = client.get("/broken")
    assert (broken.status_code, broken.json()) == (502, {"caught": "the cause"})


def test_headers_that_the_application_sets_are_its_own(
    application: Callable[..., FastAPI], open_client: Callable[..., TestClient]
) -> None:
    own = {
        "cache-control": "public, max-age=60",
        "content-security-policy": "default-src https:",
        "server": "own",
        "strict-transport-security": "max-age=1",
        "vary": "X-Reader",
        "x-frame-options": "SAMEORIGIN",
        "x-request-id": "number 7",
        "x-response-time": "0.5",
    }
    app = application()

    @app.middleware("http")
    async def set_headers(request: Request, call_next: Next) -> Response:
        response = await call_next(request)
        response.headers.update(own)
        return response

    @app.get("/")
    async def home() -> None: ...

    client = open_client(app)
    for path in ("/", "/none"):
        headers = client.get(path).headers
        for name, value in own.items():
            (sent,) = headers.get_list(name)
            assert sent == value or (name == "vary" and sent.startswith(value))


def test_a_middleware_may_read_the_body_before_the_route(
    application: Callable[..., FastAPI], open_client: Callable[..., TestClient]
) -> None:
    app = application()
    seen: list[bytes] = []

    @app.middleware("http")
    async def log_body(request: Request, call_next: Next) -> Response:
        seen.append(await request.body())
        response = await call_next(request)
        parts: list[bytes] = [
            part
            async for part in response.body_iterator  # type: ignore[attr-defined]
        ]
        seen.extend(parts)
        return Response(b"".join(seen), response.status_code, media_type="text/plain")

    @app.post("/sum")
    async def total(numbers: list[int]) -> int:
        return sum(numbers)

    assert open_client(app).post("/sum", json=[1, 2]).text == "[1,2]3"


def test_middlewares_run_from_the_last_added_to_the_first(
    application: Callable[..., FastAPI], open_client: Callable[..., TestClient]
) -> None:
    class Note:
        def __init__(self, app: ASGIApp, name: str) -> None:
            self.app = app
            self.name = name

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await self.app(scope, receive, send)
                return
            scope.setdefault("state", {}).setdefault("notes", []).append(self.name)

            async def noting(message: Message) -> None:
                if message["type"] == "http.response.start":
                    message["headers"].append((b"x-note", self.name.encode()))
                await send(message)

            await self.app(scope, receive, noting)

    app = application()
    app.add_middleware(Note, name="inner")
    app.add_middleware(Note, name="outer")

    @app.get("/notes")
    async def notes(request: Request) -> list[str]:
        noted: list[str] = request.state.notes
        return noted

    answer = open_client(app).get("/notes")
    assert answer.json() == ["outer", "inner"]
    assert answer.headers.get_list("x-note") == ["inner", "outer"]


def test_a_middleware_cannot_be_added_to_an_application_that_has_started(
    application: Callable[..., FastAPI], open_client: Callable[..., TestClient]
) -> None:
    app = with_routes(application())
    open_client(app).get("/words")
    with pytest.raises(RuntimeError, match="after an application has started"):
        app.add_middleware(GZipMiddleware)
