"""Compressed responses, where the client accepts them and they are worth it."""

import gzip
from collections.abc import AsyncIterator, Callable

import httpx2
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from service_platform.app import ServiceApp

Calling = Callable[..., httpx2.AsyncClient]
MakeService = Callable[..., ServiceApp]


async def hello(_: Request) -> Response:
    return PlainTextResponse("hello" * 400)


async def tagged(request: Request) -> Response:
    etag = 'W/"3"' if "weak" in request.query_params else '"3"'
    content = "x" * (10 if "small" in request.query_params else 2000)
    return PlainTextResponse(content, headers={"etag": etag})


async def packed(_: Request) -> Response:
    return Response(b"x" * 2000, headers={"content-encoding": "gzip", "etag": '"own"'})


async def part(_: Request) -> Response:
    return Response(b"x" * 2000, 206, headers={"content-range": "bytes 0-1999/5000"})


async def unchanged(_: Request) -> Response:
    return Response(status_code=304)


async def stream(_: Request) -> Response:
    async def content() -> AsyncIterator[bytes]:
        yield b"a" * 10
        yield b"b" * 10

    return StreamingResponse(content(), media_type="text/plain", headers={"etag": '"s"'})


ROUTES = [
    Route("/hello", hello),
    Route("/tagged", tagged),
    Route("/packed", packed),
    Route("/part", part),
    Route("/unchanged", unchanged),
    Route("/stream", stream),
]


@pytest.fixture
def client(make_service: MakeService, calling: Calling) -> httpx2.AsyncClient:
    return calling(make_service(ROUTES))


@pytest.mark.parametrize(
    ("accepted", "compressed"),
    [
        ("gzip", True), ("GZIP", True), ("br, gzip;q=0.5", True), ("*", True), ("x-gzip", True),
        ("gzip;q=0", False), ("gzip;q=0.0", False), ("gzip ; q=0", False), ("*;q=0", False),
        ("gzip;q=0, *", False), ("br", False), ("gzipped", False), ("", False), ("gzip;q=x", False),
        ("identity;q=0.5, gzip;q=1.0", True),
    ],
)  # fmt: skip
async def test_qualities_of_codings_are_kept(
    client: httpx2.AsyncClient, accepted: str, compressed: bool
) -> None:
    response = await client.get("/hello", headers={"accept-encoding": accepted})
    assert ("content-encoding" in response.headers) is compressed
    assert response.headers["vary"] == "Accept-Encoding"


async def test_large_responses_are_compressed_and_small_ones_are_not(
    client: httpx2.AsyncClient,
) -> None:
    accepting, plain = {"accept-encoding": "gzip"}, {"accept-encoding": "identity"}
    packed = await client.get("/hello", headers=accepting)
    assert packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) < 2000
    assert packed.text == (await client.get("/hello", headers=plain)).text
    small = await client.get("/tagged?small=1", headers=accepting)
    assert "content-encoding" not in small.headers


async def test_what_a_route_compressed_itself_is_left_alone(client: httpx2.AsyncClient) -> None:
    async with client.stream("GET", "/packed", headers={"accept-encoding": "gzip"}) as response:
        assert response.headers["etag"] == '"own"'
        assert response.headers.get_list("content-encoding") == ["gzip"]


@pytest.mark.parametrize("path", ["/part", "/unchanged"])
async def test_parts_and_responses_without_content_stay_as_they_are(
    client: httpx2.AsyncClient, path: str
) -> None:
    accepting = await client.get(path, headers={"accept-encoding": "gzip"})
    plain = await client.get(path, headers={"accept-encoding": "identity"})
    assert "content-encoding" not in accepting.headers
    assert accepting.content == plain.content


async def test_compressed_content_has_an_entity_tag_of_its_own(client: httpx2.AsyncClient) -> None:
    packed = await client.get("/tagged", headers={"accept-encoding": "gzip"})
    plain = await client.get("/tagged", headers={"accept-encoding": "identity"})
    small = await client.get("/tagged?small=1", headers={"accept-encoding": "gzip"})
    weak = await client.get("/tagged?weak=1", headers={"accept-encoding": "gzip"})
    assert [each.headers["etag"] for each in (packed, plain, small, weak)] == [
        '"3-gzip"', '"3"', '"3"', 'W/"3"',
    ]  # fmt: skip


async def test_the_parts_of_a_stream_are_compressed_together(client: httpx2.AsyncClient) -> None:
    async with client.stream("GET", "/stream", headers={"accept-encoding": "gzip"}) as response:
        raw = b"".join([each async for each in response.aiter_raw()])
    assert response.headers["content-encoding"] == "gzip"
    assert response.headers["etag"] == '"s-gzip"'
    assert gzip.decompress(raw) == b"a" * 10 + b"b" * 10
