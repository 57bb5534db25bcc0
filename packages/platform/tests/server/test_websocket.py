"""WebSockets: messages, refusals before accept, bounds and the close of a drain."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from raw_http import GET, REQUEST, problem, respond, split_head, statuses
from starlette.types import Message, Receive, Scope, Send
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from service_platform.server.states import Limits

HANDSHAKE = (
    GET + b"upgrade: websocket\r\nconnection: keep-alive, Upgrade\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
LIMITS = Limits(websocket_handshake=0.3, websocket_close=0.3, progress=0.3, linger=0.3)
ACCEPT: Message = {"type": "websocket.accept"}

MakeServer = Callable[..., Any]


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Send every message back; requests that are none are answered too."""
    if scope["type"] == "http":
        await respond(send, b"ok")
        return
    assert (await receive())["type"] == "websocket.connect"
    await send(ACCEPT)
    while (message := await receive())["type"] == "websocket.receive":
        sent = {key: message[key] for key in ("text", "bytes") if message.get(key) is not None}
        await send({"type": "websocket.send", **sent})


def address(host_and_port: tuple[str, int]) -> str:
    return "ws://{}:{}/ws".format(*host_and_port)


async def test_messages_go_both_ways(make_server: MakeServer) -> None:
    async with make_server(echo).listening() as at, connect(address(at)) as socket:
        await socket.send("text")
        assert await socket.recv() == "text"
        await socket.send(b"\x00bytes")
        assert await socket.recv() == b"\x00bytes"
        await socket.send(["in ", "parts"])
        assert await socket.recv() == "in parts"


async def test_the_scope_is_that_of_the_request(make_server: MakeServer) -> None:
    scopes = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope)
        await echo(scope, receive, send)

    async with make_server(app).listening() as at:
        url = f"{address(at)}/%C3%A9?a=b"
        async with connect(url, additional_headers={"X-Name": "value"}, subprotocols=["chat"]):  # type: ignore[list-item]
            pass
    (scope,) = scopes
    assert (scope["type"], scope["path"], scope["query_string"]) == ("websocket", "/ws/é", b"a=b")
    assert scope["client"][0] == "127.0.0.1"
    assert scope["subprotocols"] == ["chat"]
    assert (b"x-name", b"value") in scope["headers"]
    assert "websocket.http.response" in scope["extensions"]


@pytest.mark.parametrize("status", [401, 403, 429])
async def test_a_refusal_before_accept_is_a_response(make_server: MakeServer, status: int) -> None:
    async def app(_: Scope, receive: Receive, send: Send) -> None:
        await receive()
        headers = [(b"content-type", b"application/problem+json"), (b"retry-after", b"3")]
        await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": b'{"a":', "more_body": True})
        await send({"type": "websocket.http.response.body", "body": b"1}"})

    async with make_server(app).listening() as at:
        with pytest.raises(InvalidStatus) as refused:
            await connect(address(at))
    response = refused.value.response
    assert (response.status_code, response.body) == (status, b'{"a":1}')
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["retry-after"] == "3"


async def test_a_close_before_accept_is_403(make_server: MakeServer) -> None:
    async def app(_: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.close", "code": 1008})

    async with make_server(app).listening() as at:
        with pytest.raises(InvalidStatus) as refused:
            await connect(address(at))
    assert refused.value.response.status_code == 403


async def test_too_large_messages_close_with_1009(make_server: MakeServer) -> None:
    async with make_server(echo).listening() as at:
        for parts in ["x" * 5000], ["x" * 3000, "x" * 3000]:
            async with connect(address(at), compression=None) as socket:
                await socket.send(parts)
                with pytest.raises(ConnectionClosed) as closed:
                    await socket.recv()
                assert closed.value.rcvd is not None
                assert closed.value.rcvd.code == 1009


async def test_a_client_that_answers_no_ping_is_closed(make_server: MakeServer) -> None:
    server = make_server(echo, limits=LIMITS, ping=0.1)
    async with server.listening() as at:
        reader, writer = await asyncio.open_connection(*at)
        writer.write(HANDSHAKE + b"\r\n")
        assert await ends(reader)
        writer.close()
        await gone(server)


async def test_a_handshake_nobody_answers_is_given_up(make_server: MakeServer) -> None:
    async def app(_: Scope, receive: Receive, __: Send) -> None:
        while (await receive())["type"] != "websocket.disconnect":
            pass

    server = make_server(app, limits=LIMITS)
    async with server.listening() as at:
        reader, writer = await asyncio.open_connection(*at)
        writer.write(HANDSHAKE + b"\r\n")
        async with asyncio.timeout(5):
            assert problem(await reader.read())["status"] == 503
        writer.close()
        await gone(server)


async def test_an_exception_before_accept_is_a_500(make_server: MakeServer) -> None:
    async def app(_: Scope, __: Receive, ___: Send) -> None:
        raise RuntimeError

    async with make_server(app).listening() as at:
        with pytest.raises(InvalidStatus) as refused:
            await connect(address(at))
    assert refused.value.response.status_code == 500


@pytest.mark.parametrize(("error", "code"), [(True, 1011), (False, 1000)])
async def test_the_end_of_the_application_closes(
    make_server: MakeServer, caplog: pytest.LogCaptureFixture, *, error: bool, code: int
) -> None:
    async def app(_: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        if error:
            raise RuntimeError

    async with make_server(app).listening() as at, connect(address(at)) as socket:
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == code
    assert "Exception in ASGI application" not in caplog.text


async def test_a_drain_closes_with_1012_and_refuses_new_ones(make_server: MakeServer) -> None:
    seen: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def noting() -> Message:
            seen.append(await receive())
            return seen[-1]

        await echo(scope, noting, send)

    server = make_server(app, limits=LIMITS)
    async with server.listening() as at:
        async with connect(address(at)) as socket:
            await socket.send("before")
            assert await socket.recv() == "before"
            server.sharing.lifecycle.draining = True
            for connection in list(server.state.connections):
                connection.restart()
            with pytest.raises(ConnectionClosed) as closed:
                await socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
        await gone(server)
        assert (seen[-1]["type"], seen[-1]["code"]) == ("websocket.disconnect", 1012)
        with pytest.raises(InvalidStatus) as refused:
            await connect(address(at))
        assert refused.value.response.status_code == 503


async def test_a_client_that_confirms_no_close_is_left(make_server: MakeServer) -> None:
    server = make_server(echo, limits=LIMITS)
    async with server.listening() as at:
        reader, writer = await asyncio.open_connection(*at)
        writer.write(HANDSHAKE + b"\r\n")
        await reader.readuntil(b"\r\n\r\n")
        for connection in list(server.state.connections):
            connection.restart()
        assert await ends(reader)
        writer.close()
        await gone(server)


async def test_a_client_that_reads_nothing_is_left(make_server: MakeServer) -> None:
    async def app(_: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        while True:
            await send({"type": "websocket.send", "bytes": b"x" * 1_000_000})

    server = make_server(app, limits=LIMITS)
    async with server.listening() as at:
        _, writer = await asyncio.open_connection(*at)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(HANDSHAKE + b"\r\n")
        await asyncio.sleep(0.1)
        await gone(server)
        writer.close()


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(HANDSHAKE.replace(b"GET", b"POST"), id="another method"),
        pytest.param(HANDSHAKE.replace(b"HTTP/1.1", b"HTTP/1.0"), id="HTTP/1.0"),
        pytest.param(HANDSHAKE.replace(b"keep-alive, Upgrade", b"keep-alive"), id="no connection"),
        pytest.param(HANDSHAKE + b"content-length: %d\r\n" % len(REQUEST), id="with a body"),
    ],
)
async def test_what_asks_for_no_websocket_is_a_request(
    make_server: MakeServer, head: bytes
) -> None:
    body = REQUEST if b"content-length" in head else b""
    async with make_server(echo).listening() as at:
        reader, writer = await asyncio.open_connection(*at)
        writer.write(head + b"\r\n" + body + GET + b"connection: close\r\n\r\n")
        async with asyncio.timeout(5):
            answer = await reader.read()
        writer.close()
    assert statuses(answer) == ([200] if b"HTTP/1.0" in head else [200, 200])


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (HANDSHAKE.replace(b"version: 13", b"version: 12"), 400),
        (HANDSHAKE.replace(b"sec-websocket-key", b"x-key"), 400),
        (HANDSHAKE.replace(b"GET /", b"GET /" + b"x" * 9_000), 414),
        (HANDSHAKE.replace(b"dGhlIHNhbXBsZSBub25jZQ==", b"no"), 400),
        (HANDSHAKE + b"x: " + b"x" * 20_000 + b"\r\n", 431),
        (HANDSHAKE + b"x: y\r\n" * 200, 431),
    ],
)
async def test_a_wrong_handshake_is_refused(
    make_server: MakeServer, head: bytes, status: int
) -> None:
    server = make_server(echo)
    async with server.listening() as at:
        reader, writer = await asyncio.open_connection(*at)
        writer.write(head + b"\r\n")
        async with asyncio.timeout(5):
            answer = await reader.read()
        writer.close()
        await gone(server)
    told, headers = split_head(answer.partition(b"\r\n\r\n")[0])
    assert told == status
    assert problem(answer)["status"] == status
    if b"version: 12" in head:
        assert headers["sec-websocket-version"] == "13"


async def ends(reader: asyncio.StreamReader) -> bool:
    async with asyncio.timeout(5):
        await reader.read()
    return True


async def gone(server: Any) -> None:
    """Wait until no connection and no task is left."""
    async with asyncio.timeout(5):
        while server.state.connections or server.state.tasks or server.sharing.connections.open:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
