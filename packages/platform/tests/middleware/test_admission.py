"""Identity and rate limits hold for every route, however it came into the application."""

import inspect
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Annotated, Any

import httpx2
import pytest
from fastapi import APIRouter, Depends, FastAPI, Request, WebSocket
from fastapi.responses import PlainTextResponse
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.responses import Response
from starlette.routing import BaseRoute, Host, Mount, Route, Router, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.testclient import WebSocketDenialResponse
from starlette.types import Receive, Scope, Send

from service_platform.app import ServiceApp, create_app
from service_platform.ratelimit import limit
from service_platform.settings import PlatformSettings

PATH = "/way/in"
URL = f"http://testserver{PATH}"


def settings(**changed: Any) -> PlatformSettings:
    return PlatformSettings(
        _env_file=None,
        **{
            "environment": "test",
            "rate_limit_backend": "memory",
            "rate_limit_requests": 1000,
            "request_timeout_seconds": 30,
            **changed,
        },
    )


async def endpoint() -> dict[str, str]:
    return {"served": "yes"}


async def starlette_endpoint(_: Request) -> Response:
    return PlainTextResponse("served")


class EndpointClass(HTTPEndpoint):
    async def get(self, _: Request) -> Response:
        return PlainTextResponse("served")


async def plain_asgi(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("served")(scope, receive, send)


class OwnRoute(APIRoute):
    def get_route_handler(self) -> Callable[[Request], Any]:
        handler = super().get_route_handler()

        async def own(request: Request) -> Response:
            response: Response = await handler(request)
            response.headers["x-own-route"] = "1"
            return response

        return own


class OwnMatching(Route):
    """Matches as a third-party route may: by itself."""

    def matches(self, scope: Scope) -> Any:
        return super().matches(scope)


def router_with(prefix: str = "", **options: Any) -> APIRouter:
    router = APIRouter(prefix=prefix, **options)
    router.get("/in")(limited(endpoint))
    return router


def limited(function: Any) -> Any:
    """The function with a limit of its own, without changing the original."""

    async def copy(**values: Any) -> Any:
        return await function(**values)

    copy.__name__ = "limited"
    copy.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
    return limit("2/minute", name="own")(copy)


def by_decorator(app: FastAPI) -> None:
    app.get(PATH)(limited(endpoint))


def by_decorator_below_the_limit(app: FastAPI) -> None:
    @limit("2/minute")
    @app.get(PATH)
    async def below() -> str:
        return "served"


def by_add_api_route(app: FastAPI) -> None:
    app.add_api_route(PATH, limited(endpoint))


def by_api_route(app: FastAPI) -> None:
    app.api_route(PATH, methods=["GET", "POST"])(limited(endpoint))


def by_sync_endpoint(app: FastAPI) -> None:
    @app.get(PATH)
    @limit("2/minute")
    def sync() -> str:
        return "served"


def by_stream(app: FastAPI) -> None:
    @app.get(PATH)
    @limit("2/minute")
    async def stream() -> AsyncIterator[int]:
        yield 1


def by_parameter(app: FastAPI) -> None:
    @app.get("/{first}/{second:path}")
    @limit("2/minute")
    async def parameters(first: str, second: str) -> list[str]:
        return [first, second]


def by_included_router(app: FastAPI) -> None:
    app.include_router(router_with("/way"))


def by_prefix_of_inclusion(app: FastAPI) -> None:
    app.include_router(router_with(), prefix="/way", dependencies=[Depends(endpoint)])


def by_nested_routers(app: FastAPI) -> None:
    outer, middle = APIRouter(), APIRouter()
    middle.include_router(router_with())
    outer.include_router(middle, prefix="/way")
    app.include_router(outer)


def by_route_added_after_inclusion(app: FastAPI) -> None:
    router = APIRouter(prefix="/way")
    app.include_router(router)
    router.get("/in")(limited(endpoint))


def by_own_route_class(app: FastAPI) -> None:
    app.include_router(router_with("/way", route_class=OwnRoute))


def by_starlette_route(app: FastAPI) -> None:
    app.add_route(PATH, limit("2/minute")(lambda _: PlainTextResponse("served")))


def by_starlette_class(app: FastAPI) -> None:
    app.router.routes.append(Route(PATH, limit("2/minute")(type("Own", (EndpointClass,), {}))))


def by_route_object(app: FastAPI) -> None:
    app.router.routes.append(
        OwnMatching(PATH, limit("2/minute")(lambda _: PlainTextResponse("served")))
    )


def by_mounted_fastapi(app: FastAPI) -> None:
    inner = FastAPI()
    inner.include_router(router_with())
    app.mount("/way", inner)


def by_mounted_service(app: FastAPI) -> None:
    inner = ServiceApp(settings=settings())
    inner.get("/in")(limited(endpoint))
    app.mount("/way", inner)


def by_mounted_starlette(app: FastAPI) -> None:
    handler = limit("2/minute")(lambda _: PlainTextResponse("served"))
    app.mount("/way", Starlette(routes=[Route("/in", handler)]))


def by_mount_in_included_router(app: FastAPI) -> None:
    handler = limit("2/minute")(lambda _: PlainTextResponse("served"))
    router = APIRouter()
    router.routes.append(Mount("/way", routes=[Route("/in", handler)]))
    app.include_router(router)


def by_mount_with_middleware(app: FastAPI) -> None:
    class Nothing:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await self.app(scope, receive, send)

    handler = limit("2/minute")(lambda _: PlainTextResponse("served"))
    inner = [Route("/in", handler)]
    app.router.routes.append(Mount("/way", routes=inner, middleware=[Middleware(Nothing)]))


def by_host(app: FastAPI) -> None:
    inner = Router([Route(PATH, limit("2/minute")(lambda _: PlainTextResponse("served")))])
    app.router.routes.append(Host("testserver", inner))


def by_path_rewritten_in_middleware(app: FastAPI) -> None:
    app.get("/rewritten")(limited(endpoint))

    class Rewrite:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                scope["path"] = "/rewritten"
            await self.app(scope, receive, send)

    app.add_middleware(Rewrite)


WAYS_WITH_OWN_LIMIT = [
    by_decorator,
    by_decorator_below_the_limit,
    by_add_api_route,
    by_api_route,
    by_sync_endpoint,
    by_stream,
    by_parameter,
    by_included_router,
    by_prefix_of_inclusion,
    by_nested_routers,
    by_route_added_after_inclusion,
    by_own_route_class,
    by_starlette_route,
    by_starlette_class,
    by_route_object,
    by_mounted_fastapi,
    by_mounted_service,
    by_mounted_starlette,
    by_mount_in_included_router,
    by_mount_with_middleware,
    by_host,
]


def by_mounted_asgi(app: FastAPI) -> None:
    app.mount("/way", plain_asgi)


def by_files(app: FastAPI, folder: Path) -> None:
    (folder / "in").write_text("served")
    app.mount("/way", StaticFiles(directory=folder))


def by_frontend(app: FastAPI, folder: Path) -> None:
    (folder / "way").mkdir()
    (folder / "way" / "in").write_text("served")
    app.frontend("/", directory=folder)


@pytest.mark.parametrize("acceleration", [True, False])
@pytest.mark.parametrize("add", WAYS_WITH_OWN_LIMIT)
def test_a_route_is_refused_at_its_own_limit(
    add: Callable[[FastAPI], None], acceleration: bool
) -> None:
    app = ServiceApp(settings=settings(acceleration=acceleration))
    add(app)
    with TestClient(app) as client:
        answers = [client.get(PATH) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[0].headers["x-ratelimit-limit"] == "2"
    assert answers[2].headers["retry-after"]


@pytest.mark.parametrize("add", [*WAYS_WITH_OWN_LIMIT, by_mounted_asgi])
def test_every_route_counts_against_the_limit_of_the_service(
    add: Callable[[FastAPI], None],
) -> None:
    app = ServiceApp(settings=settings(rate_limit_requests=1))
    add(app)
    with TestClient(app) as client:
        assert [client.get(PATH).status_code for _ in range(2)] == [200, 429]
        assert client.get("/health/live").status_code == 200


@pytest.mark.parametrize("add", [by_files, by_frontend])
def test_files_count_too(add: Callable[[FastAPI, Path], None], tmp_path: Path) -> None:
    app = ServiceApp(settings=settings(rate_limit_requests=1))
    add(app, tmp_path)
    with TestClient(app) as client:
        assert [client.get(PATH).status_code for _ in range(2)] == [200, 429]


def test_a_rewritten_path_has_the_limit_of_the_route_it_reaches() -> None:
    app = ServiceApp(settings=settings())
    by_path_rewritten_in_middleware(app)
    with TestClient(app) as client:
        assert [client.get("/any").status_code for _ in range(3)] == [200, 200, 429]


def limited_websocket() -> Any:
    @limit("2/minute")
    async def accept(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text("served")
        await websocket.close()

    return accept


def websocket_by_decorator(app: FastAPI) -> None:
    app.websocket(PATH)(limited_websocket())


def websocket_by_included_router(app: FastAPI) -> None:
    router = APIRouter()
    router.websocket("/in")(limited_websocket())
    app.include_router(router, prefix="/way")


def websocket_of_starlette(app: FastAPI) -> None:
    app.router.routes.append(WebSocketRoute(PATH, limited_websocket()))


def websocket_in_a_mounted_application(app: FastAPI) -> None:
    inner = FastAPI()
    inner.websocket("/in")(limited_websocket())
    app.mount("/way", inner)


@pytest.mark.parametrize(
    "add",
    [
        websocket_by_decorator,
        websocket_by_included_router,
        websocket_of_starlette,
        websocket_in_a_mounted_application,
    ],
)
def test_a_websocket_is_refused_at_its_limit(add: Callable[[FastAPI], None]) -> None:
    app = ServiceApp(settings=settings())
    add(app)
    with TestClient(app) as client:
        for _ in range(2):
            with client.websocket_connect(PATH) as websocket:
                assert websocket.receive_text() == "served"
        with (
            pytest.raises(WebSocketDenialResponse) as refused,
            client.websocket_connect(PATH),
        ):
            pass
    assert refused.value.status_code == 429
    assert refused.value.json()["error"] == "rate_limit_exceeded"


def test_the_platforms_own_routes_yield_to_the_services() -> None:
    app = ServiceApp(settings=settings())
    app.get("/version")(lambda: "of the service")
    app.get("/{anything:path}")(lambda anything: anything)
    with TestClient(app) as client:
        assert client.get("/version").json() == "of the service"
        assert client.get("/health/live").json() == {"status": "alive"}
        assert client.head("/health/live").content == b""
        assert client.get("/health/live/more").json() == "health/live/more"


def test_a_line_feed_at_the_end_is_part_of_the_path() -> None:
    app = ServiceApp(settings=settings())
    app.get("/exact")(endpoint)
    app.get("/with/{name}/end")(lambda name: name)
    with TestClient(app) as client:
        for path in ("/metrics%0A", "/exact%0A", "/with/a/end%0A", "/health/live%0A"):
            assert client.get(path).status_code == 404, path


def test_head_is_answered_where_get_is_and_by_its_own_route_where_there_is_one() -> None:
    app = ServiceApp(settings=settings())

    @app.get("/got")
    async def got() -> str:
        return "content"

    @app.get("/own")
    async def own_get() -> str:
        raise AssertionError

    @app.head("/own")
    async def own_head() -> Response:
        return Response(headers={"x-own": "head"})

    with TestClient(app) as client:
        head = client.head("/got")
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == "9"
        assert client.head("/own").headers["x-own"] == "head"
        assert client.head("/nowhere").status_code == 404
        redirect = client.head("/got/", follow_redirects=False)
        assert redirect.headers["location"] == "http://testserver/got"


async def test_two_authorization_headers_are_refused(client: httpx2.AsyncClient) -> None:
    headers = [("authorization", "Bearer a"), ("authorization", "Bearer b")]
    answer = await client.get("/api/v1/products", headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (400, "bad_request")


def test_what_a_dependency_needs_of_the_request_is_there(tmp_path: Path) -> None:
    def url_of(request: Request) -> str:
        return str(request.url_for("named", number=3))

    app = create_app(settings(), routers=[])
    router = APIRouter()

    @router.get("/of/{number}", name="named")
    async def named(number: int, url: Annotated[str, Depends(url_of)]) -> str:
        return url

    app.include_router(router, prefix="/deep")
    with TestClient(app) as client:
        assert client.get("/deep/of/7").json() == "http://testserver/deep/of/3"


def test_middleware_classes_see_the_answer_to_a_refused_request() -> None:
    app = ServiceApp(settings=settings(rate_limit_requests=1))
    app.get(PATH)(endpoint)
    seen: list[int] = []

    class Seen(BaseHTTPMiddleware):
        async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
            response = await call_next(request)
            seen.append(response.status_code)
            return response

    app.add_middleware(Seen)
    with TestClient(app) as client:
        client.get(PATH)
        client.get(PATH)
    assert seen == [200, 429]


def test_routes_are_still_what_fastapi_made_of_them() -> None:
    app = ServiceApp(settings=settings())
    routes: list[BaseRoute] = list(FastAPI().routes)
    assert [route.path for route in app.routes] == [route.path for route in routes]  # type: ignore[attr-defined]
