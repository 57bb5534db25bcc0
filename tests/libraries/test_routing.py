"""Which route is chosen: order, hosts, rewritten paths, and routes that change while serving."""

from collections.abc import Callable

import httpx2
import pytest
from fastapi import APIRouter, FastAPI, Request
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import PlainTextResponse
from fastapi.testclient import TestClient
from starlette.routing import Host, Route
from starlette.types import ASGIApp, Receive, Scope, Send


def test_the_first_route_that_fits_is_chosen(
    application: Callable[..., FastAPI], open_client: Callable[..., TestClient]
) -> None:
    app = application()

    @app.post("/books/{title}")
    async def write(title: str) -> str:
        return f"write {title}"

    @app.get("/books/new")
    async def new() -> str:
        return "new"

    @app.get("/books/{number:int}")
    async def by_number(number: int) -> str:
        return f"number {number}"

    @app.get("/books/{title}")
    def by_title(title: str) -> str:
        return f"title {title}"

    @app.get("/{path:path}")
    async def anything(path: str) -> str:
        return f"anything {path}"

    client = open_client(app)
    for path, expected in {
        "/books/new": "new",
        "/books/7": "number 7",
        "/books/Emma": "title Emma",
        "/books/a%20b": "title a b",
        "/books/a/b": "anything books/a/b",
        "/": "anything ",
    }.items():
        assert client.get(path).json() == expected
    assert client.post("/books/new").json() == "write new"


def test_routes_added_and_removed_while_serving(
    application: Callable[..., FastAPI], open_client: Callable[..., TestClient]
) -> None:
    app = application()
    router = APIRouter(prefix="/late")

    @app.get("/early")
    async def early() -> str:
        return "early"

    client = open_client(app)
    assert client.get("/early").json() == "early"
    assert client.get("/late").status_code == 404

    @router.get("")
    async def late() -> str:
        return "late"

    app.include_router(router)
    assert client.get("/late").json() == "late"

    @router.get("/again")
    async def again() -> str:
        return "again"

    assert client.get("/late/again").json() == "again"
    app.router.routes[:] = [
        route for route in app.router.routes if getattr(route, "path", "") != "/early"
    ]
    assert client.get("/early").status_code == 404
    assert client.get("/late").json() == "late"


def test_hosts_and_routes_of_starlette(
    application: Callable[..., FastAPI], open_client: Callable[..., TestClient]
) -> None:
    app, shop = application(), FastAPI()

    @app.get("/")
    async def home() -> str:
        return "home"

    @shop.get("/")
    async def shop_home() -> str:
        return "shop"

    async def plain(request: Request) -> PlainTextResponse:
        return PlainTextResponse(request.path_params["name"])

    app.router.routes.insert(0, Host("shop.example", shop))
    app.router.routes.append(Route("/plain/{name}", plain))
    app.add_route("/added/{name}", plain, methods=["PUT"])
    client = open_client(app)
    assert client.get("/").json() == "home"
    assert client.get("/", headers={"host": "shop.example"}).json() == "shop"
    assert client.get("/plain/x").text == "x"
    assert client.put("/added/y").text == "y"


@pytest.mark.parametrize("asked", ["/v1/books", "/old/books"])
def test_a_middleware_may_rewrite_the_path(
    application: Callable[..., FastAPI], open_client: Callable[..., TestClient], asked: str
) -> None:
    class Rewrite:
        def __init__(self, app: ASGIApp) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http" and scope["path"].startswith("/old/"):
                scope = {**scope, "path": "/v1" + scope["path"].removeprefix("/old")}
            await self.app(scope, receive, send)

    app = application()
    app.add_middleware(Rewrite)

    @app.get("/v1/books")
    async def books() -> str:
        return "books"

    assert open_client(app).get(asked).json() == "books"


def test_clients_without_a_lifespan_and_middlewares_around_the_application(
    application: Callable[..., FastAPI],
) -> None:
    app = application()

    @app.get("/books")
    async def books() -> str:
        return "books"

    assert TestClient(app).get("/books").json() == "books"
    around = CORSMiddleware(app, allow_origins=["https://shop.example"])
    answer = TestClient(around).get("/books", headers={"origin": "https://shop.example"})
    assert answer.json() == "books"
    assert answer.headers.get_list("access-control-allow-origin") == ["https://shop.example"]


async def test_an_asynchronous_client(application: Callable[..., FastAPI]) -> None:
    app = application()

    @app.get("/books")
    async def books() -> str:
        return "books"

    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://testserver") as client:
        assert (await client.get("/books")).json() == "books"
