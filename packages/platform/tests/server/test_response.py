"""Responses on the wire, by uvicorn's own cycle and by the accelerated one."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service_platform.server.connection import HttpConnection

REQUEST = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
LAST_REQUEST = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"


def start(*headers: tuple[bytes, bytes], status: int = 200) -> Message:
    return {"type": "http.response.start", "status": status, "headers": headers}


def body(content: bytes = b"", *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": content, "more_body": more}


def answering(*messages: Message) -> ASGIApp:
    async def app(_: Scope, __: Receive, send: Send) -> None:
        for message in messages:
            await send(dict(message))

    return app


async def test_head_and_content_are_written_together_where_accelerated(
    monkeypatch: pytest.MonkeyPatch, exchange: Callable[..., Any], acceleration: bool
) -> None:
    written: list[bytes] = []
    connection_made = HttpConnection.connection_made

    def watch(self: HttpConnection, transport: Any) -> None:
        write = transport.write

        def note(data: bytes) -> None:
            written.append(bytes(data))
            write(data)

        monkeypatch.setattr(transport, "write", note)
        connection_made(self, transport)

    monkeypatch.setattr(HttpConnection, "connection_made", watch)
    answer = await exchange(answering(start((b"Content-Length", b"2")), body(b"ok")), LAST_REQUEST)
    assert b"".join(written) == answer
    assert len(written) == (1 if acceleration else 2)
    assert answer == (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")


async def test_the_head_of_a_stream_does_not_wait_for_its_content(
    serving: Callable[..., Any],
) -> None:
    may_go_on = asyncio.Event()

    async def app(_: Scope, __: Receive, send: Send) -> None:
        await send(start())
        await may_go_on.wait()
        await send(body(b"first", more=True))
        await send(body(b"", more=True))
        await send(body(b"last"))

    async with serving(app) as (reader, writer):
        writer.write(LAST_REQUEST)
        async with asyncio.timeout(5):
            head = await reader.readuntil(b"\r\n\r\n")
            assert b"transfer-encoding: chunked\r\n" in head
            may_go_on.set()
            assert await reader.read() == b"5\r\nfirst\r\n4\r\nlast\r\n0\r\n\r\n"


async def test_content_of_known_length_may_come_in_parts(exchange: Callable[..., Any]) -> None:
    app = answering(start((b"content-length", b"4")), body(b"ab", more=True), body(b"cd"))
    assert (await exchange(app, LAST_REQUEST)).endswith(b"\r\n\r\nabcd")


@pytest.mark.parametrize("headers", [(), ((b"content-length", b"2"),)])
async def test_head_is_answered_without_content(
    headers: tuple[tuple[bytes, bytes], ...], exchange: Callable[..., Any]
) -> None:
    sent = LAST_REQUEST.replace(b"GET", b"HEAD")
    answer = await exchange(answering(start(*headers), body(b"ok")), sent)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\n")
    assert b"transfer-encoding" not in answer


@pytest.mark.parametrize("status", [204, 304])
async def test_a_status_without_content_has_no_length(
    status: int, exchange: Callable[..., Any]
) -> None:
    answer = await exchange(answering(start(status=status), body()), LAST_REQUEST)
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert answer.endswith(b"\r\n\r\n")
    assert b"transfer-encoding" not in answer


async def test_a_connection_is_kept_and_serves_pipelined_requests_in_order(
    exchange: Callable[..., Any],
) -> None:
    numbers = iter(range(10))

    async def app(_: Scope, __: Receive, send: Send) -> None:
        number = b"%d" % next(numbers)
        await asyncio.sleep(0.01)
        await send(start((b"content-length", b"1")))
        await send(body(number))

    answer = await exchange(app, REQUEST * 3 + LAST_REQUEST)
    assert [part[-1:] for part in answer.split(b"HTTP/1.1 ")[1:]] == [b"0", b"1", b"2", b"3"]


async def test_the_application_can_close_the_connection(exchange: Callable[..., Any]) -> None:
    headers = ((b"content-length", b"0"), (b"Connection", b"keep-alive, Close"))
    answer = await exchange(answering(start(*headers), body()), REQUEST * 2)
    assert answer.count(b"HTTP/1.1 200") == 1
    assert answer.count(b"connection:") == 1


@pytest.mark.parametrize(
    "header",
    [
        (b"x-note", b"a\r\nset-cookie: stolen"),
        (b"x-note", b"a\nb"),
        (b"x-note", b"a\x00"),
        (b"x-note\r\nset-cookie", b"stolen"),
        (b"x note", b"a"),
    ],
)
async def test_a_header_cannot_begin_another_one(
    header: tuple[bytes, bytes], exchange: Callable[..., Any]
) -> None:
    for _ in range(2):  # the second finds what the first left in the memory
        answer = await exchange(
            answering(start((b"content-length", b"0"), header), body()), LAST_REQUEST
        )
        assert b"stolen" not in answer
        assert b"200 OK" not in answer


@pytest.mark.parametrize("content", [b"toolong", b"t"])
async def test_content_of_another_length_than_declared_cuts_the_connection(
    content: bytes, exchange: Callable[..., Any]
) -> None:
    """A client must not take the rest for the beginning of the next response (CWE-444)."""
    app = answering(start((b"content-length", b"3")), body(content))
    assert not (await exchange(app, REQUEST * 2)).endswith(b"toolong")
    assert (await exchange(app, REQUEST * 2)).count(b"HTTP/1.1") <= 1


@pytest.mark.parametrize(
    "messages",
    [
        (body(b"early"),),
        (start(), start()),
        (start((b"content-length", b"0")), body(), body(b"late")),
    ],
)
async def test_parts_in_the_wrong_order_are_an_error_of_the_application(
    messages: tuple[Message, ...], exchange: Callable[..., Any]
) -> None:
    *fine, last = messages
    raised = []

    async def app(_: Scope, __: Receive, send: Send) -> None:
        for message in fine:
            await send(dict(message))
        with pytest.raises(RuntimeError) as error:
            await send(dict(last))
        raised.append(error)

    await exchange(app, LAST_REQUEST)
    assert raised
