"""Bodies of requests: their limit, the rest of a refused one, clients that leave."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Message

from service_platform.app import ServiceApp
from service_platform.context import RequestContext
from service_platform.middleware.request_body import DISCARDED_BYTES, RequestBody
from service_platform.settings import PlatformSettings

Calling = Callable[..., httpx2.AsyncClient]
MakeService = Callable[..., ServiceApp]

LIMIT = 2_000


async def count(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


ROUTES = [Route("/count", count, methods=["POST"])]


async def test_a_body_up_to_the_limit_is_read(make_service: MakeService, calling: Calling) -> None:
    client = calling(make_service(ROUTES, max_body_bytes=LIMIT))
    assert (await client.post("/count", content=b"x" * LIMIT)).text == str(LIMIT)


async def test_a_declared_body_over_the_limit_is_refused(
    make_service: MakeService, calling: Calling
) -> None:
    client = calling(make_service(ROUTES, max_body_bytes=LIMIT))
    response = await client.post("/count", content=b"x" * (LIMIT + 1))
    assert (response.status_code, response.json()["error"]) == (413, "payload_too_large")


async def test_an_undeclared_body_over_the_limit_is_refused(
    make_service: MakeService, calling: Calling
) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"x" * 1_000

    client = calling(make_service(ROUTES, max_body_bytes=LIMIT))
    assert (await client.post("/count", content=chunks())).status_code == 413


async def test_a_client_that_leaves_while_sending_gets_no_answer_and_is_no_error(
    make_service: MakeService,
) -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope: dict[str, Any] = {
        "type": "http",
        "method": "POST",
        "path": "/count",
        "headers": [(b"content-length", b"5")],
        "query_string": b"",
        "scheme": "http",
        "client": ("192.0.2.1", 1),
    }
    await make_service(ROUTES)(scope, receive, send)
    assert scope["service_platform"].disconnected
    assert sent == []


class Sender:
    """A client that sends parts of a body without an end."""

    def __init__(self, part: bytes, parts: int) -> None:
        self._part = part
        self.left = parts

    async def __call__(self) -> Message:
        self.left -= 1
        return {"type": "http.request", "body": self._part, "more_body": self.left > 0}


def body_of(sender: Sender, headers: dict[bytes, bytes] | None = None) -> RequestBody:
    context = RequestContext({}, headers or {}, settings=PlatformSettings(_env_file=None))
    return RequestBody(sender, context)


async def test_the_rest_of_a_refused_body_is_read_to_its_end() -> None:
    sender = Sender(b"x" * 1000, 10)
    body = body_of(sender)
    await body.receive()
    assert not body.complete
    await body.discard()
    assert (body.complete, sender.left) == (True, 0)


async def test_no_more_than_a_bounded_rest_is_read() -> None:
    sender = Sender(b"x" * 1_048_576, 1000)
    body = body_of(sender)
    await body.discard()
    assert not body.complete
    assert 1000 - sender.left == DISCARDED_BYTES // 1_048_576


async def test_a_client_that_waits_for_permission_is_not_waited_for() -> None:
    sender = Sender(b"x", 10)
    await body_of(sender, {b"expect": b"100-continue"}).discard()
    assert sender.left == 10
