"""The table finds the route that FastAPI's router chooses, for every kind and order of routes."""

from collections.abc import Iterator
from itertools import count
from typing import Any

from fastapi import APIRouter, FastAPI, WebSocket
from fastapi.routing import RouteContext
from hypothesis import example, given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Host, Mount, Route, Router, WebSocketRoute
from starlette.types import Message, Scope

from service_platform.middleware.route_table import RouteMatch, RouteTable

Node = tuple[Any, ...]
"""How a route of a generated application is added: kind, path, and what belongs to that kind."""

METHODS = ("GET", "POST")
HOSTS = ("one.test", "two.test")
SEGMENTS = st.sampled_from(["a", "b", "{}", "{:int}", "{:path}", "{}.b", "{:uuid}"])
TEMPLATES = st.lists(SEGMENTS, max_size=3).map(lambda parts: "/" + "/".join(parts))
PREFIXES = st.lists(st.sampled_from(["a", "b", "{}"]), min_size=1, max_size=2).map(
    lambda parts: "/" + "/".join(parts)
)
VALUES = st.sampled_from(["a", "b", "1", "x.b", "é", "", "0b9d4d52-9c33-7a55-a55f-2f3f0f0c9a01"])
PATHS = st.lists(VALUES, max_size=5).map(lambda parts: "/" + "/".join(parts))
LEAVES: st.SearchStrategy[Node] = st.one_of(
    st.tuples(
        st.sampled_from(["fastapi", "starlette"]),
        TEMPLATES,
        st.sets(st.sampled_from(METHODS), min_size=1),
    ),
    st.tuples(st.sampled_from(["websocket", "starlette websocket"]), TEMPLATES),
)
NODES = st.recursive(
    st.lists(LEAVES, min_size=1, max_size=3),
    lambda inner: st.lists(
        st.one_of(
            LEAVES,
            st.tuples(st.just("included"), PREFIXES, inner),
            st.tuples(
                st.sampled_from(["mounted fastapi", "mounted starlette", "mounted router"]),
                PREFIXES,
                inner,
            ),
            st.tuples(st.just("host"), st.sampled_from(HOSTS), inner),
        ),
        min_size=1,
        max_size=4,
    ),
    max_leaves=8,
)


class Chosen:
    """Makes endpoints that tell when they are called."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._numbers = count()

    def http(self) -> Any:
        name = f"http {next(self._numbers)}"

        async def endpoint(request: Request) -> Response:
            self.names.append(name)
            return Response()

        endpoint.__name__ = name
        return endpoint

    def websocket(self) -> Any:
        name = f"websocket {next(self._numbers)}"

        async def endpoint(websocket: WebSocket) -> None:
            self.names.append(name)
            await websocket.close()

        endpoint.__name__ = name
        return endpoint


def named(template: str, numbers: Iterator[int]) -> str:
    """The template with a name of its own for each parameter."""
    while "{}" in template or "{:" in template:
        template = template.replace("{", f"<p{next(numbers)}", 1)
        template = template.replace("}", ">", 1)
    return template.replace("<", "{").replace(">", "}")


def add(node: Node, app: FastAPI | APIRouter, chosen: Chosen, numbers: Iterator[int]) -> None:
    """Add what a node describes to an application or a router of FastAPI."""
    kind, place, *rest = node
    routes = app.router.routes if isinstance(app, FastAPI) else app.routes
    path = place if kind == "host" else named(place, numbers)
    if kind == "fastapi":
        app.add_api_route(path, chosen.http(), methods=sorted(rest[0]))
    elif kind == "websocket":
        app.add_api_websocket_route(path, chosen.websocket())
    elif kind == "included":
        router = APIRouter(redirect_slashes=False)
        for each in rest[0]:
            add(each, router, chosen, numbers)
        app.include_router(router, prefix=path)
    elif kind == "mounted fastapi":
        inner = FastAPI(openapi_url=None, redirect_slashes=False)
        for each in rest[0]:
            add(each, inner, chosen, numbers)
        app.mount(path, inner)
    else:
        routes.append(starlette_route(node, path, chosen, numbers))


def starlette_route(node: Node, path: str, chosen: Chosen, numbers: Iterator[int]) -> BaseRoute:
    """A route of Starlette, or a router of it that is mounted; of the latter the leaves only."""
    kind, _, *rest = node
    if kind in {"fastapi", "starlette"}:
        return Route(path, chosen.http(), methods=sorted(rest[0]))
    if kind in {"websocket", "starlette websocket"}:
        return WebSocketRoute(path, chosen.websocket())
    inner = [
        starlette_route(
            each, each[1] if each[0] == "host" else named(each[1], numbers), chosen, numbers
        )
        for each in rest[0]
    ]
    if kind == "host":
        return Host(path, Router(inner, redirect_slashes=False))
    if kind == "mounted starlette":
        starlette = Starlette(routes=inner)
        starlette.router.redirect_slashes = False
        return Mount(path, app=starlette)
    return Mount(path, app=Router(inner, redirect_slashes=False))


def endpoint_name(route: RouteContext) -> str | None:
    return getattr(route.endpoint, "__name__", None)


def scope_of(kind: str, path: str, host: str) -> Scope:
    common: Scope = {
        "type": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", host.encode())],
        "scheme": "http",
    }
    if kind == "WEBSOCKET":
        return {**common, "type": "websocket", "scheme": "ws", "subprotocols": []}
    return {**common, "method": kind}


async def status_of(app: FastAPI, scope: Scope) -> int:
    """Have the application answer; returns the status, 101 for a WebSocket."""
    statuses: list[int] = []

    async def receive() -> Message:
        return {"type": "websocket.connect" if scope["type"] == "websocket" else "http.request"}

    async def send(message: Message) -> None:
        if message["type"].endswith("start"):
            statuses.append(message["status"])

    await app({**scope}, receive, send)
    return statuses[0] if statuses else 101


def told(match: RouteMatch[str | None] | None) -> tuple[list[str], str]:
    """Which endpoint the table names, and whether for this method."""
    if match is None or match.info is None:
        return [], "not found"
    return ([match.info], "found") if match.is_full else ([], "other method")


@settings(deadline=None)  # machines of a build may be slow
@example(
    nodes=[("fastapi", "/a", {"GET"}), ("fastapi", "/{}", {"POST"})],
    asked=[("POST", "/a", "one.test")],
)
@example(
    nodes=[("starlette", "/{:path}", {"GET"}), ("fastapi", "/a", {"GET"})],
    asked=[("GET", "/a", "one.test")],
)
@given(
    nodes=NODES,
    asked=st.lists(
        st.tuples(st.sampled_from([*METHODS, "WEBSOCKET"]), PATHS, st.sampled_from(HOSTS)),
        min_size=1,
        max_size=8,
    ),
)
async def test_the_table_finds_what_the_router_chooses(
    nodes: list[Node], asked: list[tuple[str, str, str]]
) -> None:
    chosen, numbers = Chosen(), count()
    app = FastAPI(openapi_url=None, redirect_slashes=False)
    for node in nodes:
        add(node, app, chosen, numbers)
    table = RouteTable(app.router.routes, endpoint_name)
    for kind, path, host in asked:
        scope = scope_of(kind, path, host)
        before = {**scope}
        names, found = told(table.find(scope, path))
        assert scope == before
        chosen.names.clear()
        status = await status_of(app, scope)
        assert chosen.names == names
        if found == "found":
            assert status in {200, 101}
        elif kind != "WEBSOCKET":
            # FastAPI puts an included `Host` into a router of its own, which redirects slashes.
            assert status in ({404, 307} if found == "not found" else {405})


def find(
    app: FastAPI, kind: str, path: str, host: str = "one.test"
) -> RouteMatch[str | None] | None:
    return RouteTable(app.router.routes, endpoint_name).find(scope_of(kind, path, host), path)


def test_the_template_is_that_of_the_whole_path() -> None:
    app, inner, router = FastAPI(), FastAPI(), APIRouter()
    router.get("/{x}")(Chosen().http())
    inner.include_router(router, prefix="/inner")
    app.mount("/outer/{y}", inner)
    match = find(app, "GET", "/outer/1/inner/2")
    assert match is not None
    assert (match.path, match.is_nested) == ("/outer/{y}/inner/{x}", True)
    assert match.child_scope["path_params"] == {"y": "1", "x": "2"}


def test_routes_that_are_added_later_are_found() -> None:
    app, router = FastAPI(), APIRouter()
    app.include_router(router, prefix="/included")
    table = RouteTable(app.router.routes, endpoint_name)
    scopes = [scope_of("GET", path, "one.test") for path in ("/included/a", "/b")]
    assert [table.find(scope, scope["path"]) for scope in scopes] == [None, None]
    router.get("/a")(Chosen().http())
    app.get("/b")(Chosen().http())
    assert all(table.find(scope, scope["path"]) for scope in scopes)


def test_a_line_feed_at_the_end_is_part_of_the_path() -> None:
    """The router's `$` overlooks it; `AdmissionMiddleware` answers 404 instead."""
    app = FastAPI()
    app.get("/a")(Chosen().http())
    app.get("/{x}/end")(Chosen().http())
    assert find(app, "GET", "/a\n") is None
    assert find(app, "GET", "/a/end\n") is None
    assert find(app, "GET", "/a") is not None


def test_the_methods_of_a_path_are_those_of_all_its_routes() -> None:
    app = FastAPI()
    app.get("/{x}")(Chosen().http())
    app.put("/a")(Chosen().http())
    table = RouteTable(app.router.routes, endpoint_name)
    scope = scope_of("DELETE", "/a", "one.test")
    assert table.allowed_methods(scope, "/a") == ["GET", "HEAD", "PUT"]
    assert table.allowed_methods(scope, "/a/b") == []
