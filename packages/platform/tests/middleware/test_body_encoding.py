"""Compressed bodies and JSON that is not UTF-8, by what reads the body."""

import gzip
import json
from typing import Annotated, Any

import httpx2
import pytest
from fastapi import Body, FastAPI, Form, Request
from fastapi.routing import APIRoute
from pydantic import BaseModel

from service_platform.app import ServiceApp
from service_platform.settings import PlatformSettings


class Lamp(BaseModel):
    name: str


def app() -> FastAPI:
    settings = PlatformSettings(environment="test", log_level="CRITICAL", rate_limit_enabled=False)
    made = ServiceApp(settings=settings)

    @made.post("/json")
    async def read_json(lamp: Lamp) -> str:
        return lamp.name

    @made.post("/form")
    async def read_form(name: Annotated[str, Form()]) -> str:
        return name

    @made.post("/bytes")
    async def read_bytes(
        content: Annotated[bytes, Body(media_type="application/octet-stream")],
    ) -> int:
        return len(content)

    @made.post("/request")
    async def read_request(request: Request) -> Any:
        content = await request.body()
        if request.headers.get("content-encoding") == "gzip":
            content = gzip.decompress(content)
        return json.loads(content)

    return made


async def post(path: str, content: bytes, **headers: str) -> httpx2.Response:
    transport = httpx2.ASGITransport(app())
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with httpx2.AsyncClient(transport=transport, base_url="http://lamps.test") as client:
        return await client.post(path, content=content, headers=named)


LAMP = b'{"name": "Lamp"}'
UTF16 = LAMP.decode().encode("utf-16")


@pytest.mark.parametrize("kind", ["application/json", "application/vnd.lamp+json; charset=utf-16"])
async def test_json_for_fastapi_is_utf8(kind: str) -> None:
    answer = await post("/json", UTF16, content_type=kind)
    assert (answer.status_code, answer.json()["error"]) == (400, "malformed_body")
    assert (await post("/json", LAMP, content_type=kind)).json() == "Lamp"


async def test_an_encoding_is_noticed_however_the_body_is_cut() -> None:
    async def cut() -> Any:
        for byte in UTF16:
            yield bytes([byte])

    transport = httpx2.ASGITransport(app())
    async with httpx2.AsyncClient(transport=transport, base_url="http://lamps.test") as client:
        answer = await client.post(
            "/json", content=cut(), headers={"content-type": "application/json"}
        )
    assert answer.status_code == 400


@pytest.mark.parametrize("path", ["/json", "/form"])
async def test_what_fastapi_reads_is_not_compressed(path: str) -> None:
    answer = await post(path, gzip.compress(LAMP), content_encoding="gzip")
    assert answer.status_code == 415
    assert answer.headers["accept-encoding"] == "identity"


async def test_a_route_that_reads_the_request_decides_itself() -> None:
    compressed = gzip.compress(LAMP)
    answer = await post("/request", compressed, content_encoding="gzip")
    assert answer.json() == {"name": "Lamp"}
    answer = await post("/request", UTF16, content_type="application/json")
    assert answer.json() == {"name": "Lamp"}


async def test_bytes_are_bytes() -> None:
    answer = await post("/bytes", b"\0\1\2", content_type="application/octet-stream")
    assert answer.json() == 3
    packed = gzip.compress(LAMP)
    answer = await post("/bytes", packed, content_encoding="gzip")
    assert answer.json() == len(packed)
    form = b"name=a%00b"
    answer = await post("/form", form, content_type="application/x-www-form-urlencoded")
    assert answer.json() == "a\0b"


async def test_an_own_route_class_may_decode_the_body() -> None:
    class Unpacked(Request):
        async def body(self) -> bytes:
            return gzip.decompress(await super().body())

    class UnpackingRoute(APIRoute):
        def get_route_handler(self) -> Any:
            handler = super().get_route_handler()

            async def unpack(request: Request) -> Any:
                return await handler(Unpacked(request.scope, request.receive))

            return unpack

    made = app()
    made.router.route_class = UnpackingRoute

    @made.post("/packed")
    async def read_packed(lamp: Lamp) -> str:
        return lamp.name

    transport = httpx2.ASGITransport(made)
    async with httpx2.AsyncClient(transport=transport, base_url="http://lamps.test") as client:
        headers = {"content-type": "application/json", "content-encoding": "gzip"}
        answer = await client.post("/packed", content=gzip.compress(LAMP), headers=headers)
    assert answer.json() == "Lamp"
