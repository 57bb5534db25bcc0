"""A service for the server tests: fast, slow, large, failing and endless answers."""

import asyncio
import os
from collections.abc import AsyncIterator

from fastapi import APIRouter, Request, WebSocket
from starlette.responses import Response, StreamingResponse

from service_platform.app import ServiceApp, create_app
from service_platform.resources import StartError
from service_platform.settings import PlatformSettings, load_settings

router = APIRouter()


@router.get("/fast")
async def fast() -> dict[str, bool]:
    return {"fast": True}


@router.get("/slow")
async def slow(seconds: float) -> dict[str, float]:
    await asyncio.sleep(seconds)
    return {"waited": seconds}


@router.get("/large")
async def large(size: int = 1_000_000) -> Response:
    return Response(b"x" * size, media_type="application/octet-stream")


@router.get("/broken")
async def broken() -> None:
    raise RuntimeError("a fault of the service")


@router.get("/broken-stream")
async def broken_stream() -> StreamingResponse:
    async def parts() -> AsyncIterator[bytes]:
        yield b"first"
        raise RuntimeError("a fault of the service")

    return StreamingResponse(parts())


@router.get("/events")
async def events() -> StreamingResponse:
    async def parts() -> AsyncIterator[bytes]:
        while True:
            yield b"data: tick\n\n"
            await asyncio.sleep(0.05)

    return StreamingResponse(parts(), media_type="text/event-stream")


@router.post("/echo")
async def echo(request: Request) -> dict[str, object]:
    body = await request.body()
    return {"size": len(body), "headers": sorted(request.headers.keys())}


@router.websocket("/ws")
async def websocket(socket: WebSocket) -> None:
    await socket.accept()
    async for text in socket.iter_text():
        await socket.send_text(text)


@router.get("/die")
async def die() -> None:
    os._exit(9)


def make() -> ServiceApp:
    settings = load_settings(
        PlatformSettings, rate_limit_enabled=False, environment="test", log_format="json"
    )
    return create_app(settings, routers=[router], resources=[])


class Broken:
    """A resource that somebody has to mend before it starts."""

    name, critical = "broken", True

    async def start(self) -> None:
        raise StartError("The key does not fit: set the one that does.")

    async def stop(self) -> None: ...

    async def check(self) -> None: ...


def make_broken() -> ServiceApp:
    settings = load_settings(PlatformSettings, rate_limit_enabled=False, environment="test")
    return create_app(settings, routers=[router], resources=[Broken()])
