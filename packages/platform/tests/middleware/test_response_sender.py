"""What stands in the head of every response."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable

import httpx2
import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from service_platform.app import ServiceApp
from service_platform.errors import NotFound

Calling = Callable[..., httpx2.AsyncClient]
MakeService = Callable[..., ServiceApp]


async def hello(_: Request) -> Response:
    return PlainTextResponse("hello" * 400, headers={"etag": '"1"'})


async def small(_: Request) -> Response:
    return PlainTextResponse("small")


async def fail(_: Request) -> Response:
    raise RuntimeError


async def missing(_: Request) -> Response:
    raise NotFound("No such thing.")


async def hang(_: Request) -> Response:
    await asyncio.Event().wait()
    raise AssertionError


async def page(_: Request) -> Response:
    return Response("<p>" * 1000, headers={"Vary": "Cookie"})


async def unchanged(_: Request) -> Response:
    return Response(status_code=304)


async def count(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


async def own_plain_text(_: Request) -> Response:
    return PlainTextResponse("of the route", 413)


ROUTES = [
    Route("/hello", hello),
    Route("/small", small),
    Route("/fail", fail),
    Route("/missing", missing),
    Route("/hang", hang),
    Route("/page", page),
    Route("/unchanged", unchanged),
    Route("/count", count, methods=["POST"]),
    Route("/own-plain-text", own_plain_text, methods=["POST"]),
]


@pytest.mark.parametrize(
    ("path", "status"),
    [("/hello", 200), ("/fail", 500), ("/missing", 404), ("/nowhere", 404), ("/hang", 504)],
)
async def test_every_response_tells_request_id_and_time(
    make_service: MakeService, calling: Calling, path: str, status: int
) -> None:
    client = calling(make_service(ROUTES, request_timeout_seconds=0.2))
    response = await client.get(path, headers={"x-request-id": "mine-1"})
    assert response.status_code == status
    assert response.headers["x-request-id"] == "mine-1"
    assert re.fullmatch(r"\d+\.\d\dms", response.headers["x-response-time"])
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["x-frame-options"] == "DENY"
    assert "default-src 'none'" in response.headers["content-security-policy"]
    assert "strict-transport-security" not in response.headers


async def test_behind_tls_browsers_are_told_to_stay_there(
    make_service: MakeService, calling: Calling
) -> None:
    response = await calling(make_service(ROUTES), "https://test").get("/hello")
    assert response.headers["strict-transport-security"].startswith("max-age=63072000")


async def test_vary_names_what_a_response_depends_on(
    make_service: MakeService, calling: Calling
) -> None:
    one_origin = calling(make_service(ROUTES, cors_origins=["https://app.example"]))
    assert (await one_origin.get("/small")).headers["vary"] == "Origin"
    assert (await one_origin.get("/hello")).headers["vary"] == "Accept-Encoding, Origin"
    assert (await one_origin.get("/unchanged")).headers["vary"] == "Accept-Encoding, Origin"
    assert (await one_origin.get("/page")).headers["vary"] == "Cookie, Accept-Encoding, Origin"
    every_origin = calling(make_service(ROUTES, cors_origins=["*"]))
    assert "vary" not in (await every_origin.get("/small")).headers


async def test_while_draining_connections_are_closed(
    make_service: MakeService, calling: Calling
) -> None:
    app = make_service(ROUTES)
    client = calling(app)
    assert "connection" not in (await client.get("/hello")).headers
    app.lifecycle.draining = True
    assert (await client.get("/hello")).headers["connection"] == "close"


async def test_the_plain_text_of_starlettes_body_limit_becomes_a_problem(
    make_service: MakeService, calling: Calling
) -> None:
    client = calling(make_service(ROUTES, max_body_bytes=1024))
    response = await client.post("/count", content=b"x" * 2000)
    assert (response.status_code, response.json()["error"]) == (413, "payload_too_large")
    assert response.headers["content-length"] == str(len(response.content))


async def test_a_413_of_a_route_stays_what_it_is(
    make_service: MakeService, calling: Calling
) -> None:
    response = await calling(make_service(ROUTES)).post("/own-plain-text")
    assert (response.status_code, response.text) == (413, "of the route")


async def test_where_a_service_answers_errors_itself_starlettes_text_stays(
    make_service: MakeService, calling: Calling
) -> None:
    app = make_service(ROUTES, max_body_bytes=1024)

    @app.exception_handler(HTTPException)
    async def handle(_: Request, error: Exception) -> Response:
        return PlainTextResponse("own")

    response = await calling(app).post("/count", content=b"x" * 2000)
    assert (response.status_code, response.text) == (413, "Content Too Large")


async def test_an_event_stream_is_ended_when_the_process_drains(
    make_service: MakeService, calling: Calling
) -> None:
    begun = asyncio.Event()

    async def content() -> AsyncIterator[bytes]:
        yield b"data: 1\n\n"
        begun.set()
        await asyncio.Event().wait()

    async def events(_: Request) -> Response:
        return StreamingResponse(content(), media_type="text/event-stream")

    app = make_service([Route("/events", events)])
    asking = asyncio.create_task(calling(app).get("/events"))
    async with asyncio.timeout(5):
        await begun.wait()
        assert app.lifecycle.end_event_streams() == 1
        response = await asking
    assert (response.status_code, response.text) == (200, "data: 1\n\n")
