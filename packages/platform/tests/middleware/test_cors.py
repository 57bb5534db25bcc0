"""Cross-origin requests of browsers: preflights, allowed origins, exposed headers."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from service_platform.app import ServiceApp
from service_platform.middleware.cors import CorsPolicy

Calling = Callable[..., httpx2.AsyncClient]
MakeService = Callable[..., ServiceApp]
Preflight = Callable[..., Awaitable[httpx2.Response]]

APP = "https://app.example"


async def hello(_: Request) -> Response:
    return PlainTextResponse("hello")


async def fail(_: Request) -> Response:
    raise RuntimeError


async def options(_: Request) -> Response:
    return PlainTextResponse("of the route")


ROUTES = [
    Route("/hello", hello),
    Route("/fail", fail),
    Route("/options", options, methods=["OPTIONS"]),
]


@pytest.fixture
def preflight(make_service: MakeService, calling: Calling) -> Preflight:
    """Asks, as a browser does, whether a page of an origin may send PATCH."""

    async def ask(origin: str, path: str = "/hello", **settings: Any) -> httpx2.Response:
        headers = {"origin": origin, "access-control-request-method": "PATCH"}
        return await calling(make_service(ROUTES, **settings)).options(path, headers=headers)

    return ask


async def test_a_preflight_from_an_allowed_origin(preflight: Preflight) -> None:
    response = await preflight(APP, cors_origins=[APP])
    assert response.status_code == 204
    assert response.headers["access-control-allow-origin"] == APP
    assert "PATCH" in response.headers["access-control-allow-methods"]
    assert "If-Match" in response.headers["access-control-allow-headers"]
    assert response.headers["x-request-id"]


async def test_a_preflight_from_any_other_origin_is_refused(preflight: Preflight) -> None:
    response = await preflight("https://evil.example", cors_origins=[APP])
    assert (response.status_code, response.content) == (403, b"")
    assert "access-control-allow-origin" not in response.headers


async def test_a_route_that_answers_options_itself_is_asked(preflight: Preflight) -> None:
    response = await preflight("https://evil.example", "/options", cors_origins=[APP])
    assert (response.status_code, response.text) == (200, "of the route")
    assert "access-control-allow-origin" not in response.headers


async def test_in_development_every_port_of_this_machine_may_call(preflight: Preflight) -> None:
    response = await preflight("http://localhost:5173", environment="development")
    assert response.headers["access-control-allow-origin"] == "http://localhost:5173"
    for origin in ("http://localhost.evil.example", "http://127.0.0.1.evil.example", "null"):
        assert (await preflight(origin, environment="development")).status_code == 403
    assert (await preflight("http://localhost:5173")).status_code == 403  # in production


async def test_answers_expose_the_headers_a_browser_needs(
    make_service: MakeService, calling: Calling
) -> None:
    client = calling(make_service(ROUTES, cors_origins=[APP]))
    for path in ("/hello", "/fail"):
        response = await client.get(path, headers={"origin": APP})
        assert response.headers["access-control-allow-origin"] == APP
        assert "ETag" in response.headers["access-control-expose-headers"]
        assert "X-Request-ID" in response.headers["access-control-expose-headers"]
    other = await client.get("/hello", headers={"origin": "https://evil.example"})
    assert other.status_code == 200
    assert "access-control-allow-origin" not in other.headers


@pytest.mark.parametrize(
    ("origins", "credentials", "allowed", "varies"),
    [
        (["*"], False, [(b"access-control-allow-origin", b"*")], False),
        (
            [APP],
            True,
            [
                (b"access-control-allow-origin", APP.encode()),
                (b"access-control-allow-credentials", b"true"),
            ],
            True,
        ),
        ([APP], False, [(b"access-control-allow-origin", APP.encode())], True),
    ],
)
def test_which_origin_is_named_and_whether_with_credentials(
    origins: list[str], credentials: bool, allowed: list[tuple[bytes, bytes]], varies: bool
) -> None:
    policy = CorsPolicy(origins, allow_credentials=credentials, allow_local=False)
    assert policy.headers(APP.encode())[:-1] == allowed
    assert policy.preflight(APP.encode())[: len(allowed)] == allowed
    assert policy.varies is varies
