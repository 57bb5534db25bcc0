"""A service with one endless event stream of sse-starlette, for a server to run.

The environment variable KIND is one of `applications_under_test.KINDS`.
"""

import os
from collections.abc import AsyncIterator

import anyio
from applications_under_test import maker_of
from fastapi import FastAPI
from sse_starlette.event import ServerSentEvent
from sse_starlette.sse import EventSourceResponse


async def ticks() -> AsyncIterator[ServerSentEvent]:
    number = 0
    while True:
        number += 1
        yield ServerSentEvent(data=number)
        await anyio.sleep(0.02)


def create_app() -> FastAPI:
    app = maker_of(os.environ["KIND"])()

    @app.get("/ready")
    async def ready() -> str:
        return "ready"

    @app.get("/ticks")
    async def stream() -> EventSourceResponse:
        return EventSourceResponse(ticks(), sep="\n")

    return app
