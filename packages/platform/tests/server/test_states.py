"""Leads a connection into each of its states: none keeps more bytes or lasts longer than it may."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from raw_http import CHUNKED, GET, REQUEST, echo, ok, read_body, respond, statuses
from starlette.types import ASGIApp, Receive, Scope, Send

from service_platform.server.states import KIB, Limits, State

Serving = Callable[..., Any]

LIMITS = Limits(
    head_bytes=8 * KIB,
    request_line_bytes=2 * KIB,
    trailer_bytes=2 * KIB,
    chunk_framing_bytes=2 * KIB,
    pipelined_bytes=8 * KIB,
    discarded_bytes=256 * KIB,
    keep_alive=0.25,
    head=0.35,
    progress=0.25,
    linger=0.25,
    websocket_handshake=0.3,
    websocket_close=0.2,
)
LONGEST = 2.0
"""No state lasts as long as this here."""

POST = b"POST / HTTP/1.1\r\nhost: x\r\n"
DOCS = Path(__file__).parents[4] / "docs" / "http.md"


async def never(_: Scope, receive: Receive, __: Send) -> None:
    """Wait until the client has left."""
    await read_body(receive)
    await receive()


async def large(_: Scope, __: Receive, send: Send) -> None:
    await respond(send, b"x" * 8_000_000)


async def refuse_without_reading(_: Scope, __: Receive, send: Send) -> None:
    await respond(send, b"no", 403)


@dataclass(frozen=True)
class Way:
    """How a connection comes into a state and is left there."""

    state: State
    sent: bytes
    status: int | None = None
    app: ASGIApp = ok
    reads: bool = True
    drips: bytes = b""
    """Sent again and again, slower than allowed."""


WAYS = {
    "nothing asked": Way(State.IDLE, b""),
    "asked, then nothing": Way(State.IDLE, REQUEST, 200),
    "asked, then an empty line": Way(State.IDLE, REQUEST + b"\r\n", 200),
    "asked, then empty lines without end": Way(State.IDLE, REQUEST, 200, drips=b"\r\n"),
    "asked, then half a line end": Way(State.IDLE, REQUEST + b"\r", 200),
    "half a request line": Way(State.HEAD, b"GET /", 408),
    "half a head": Way(State.HEAD, GET, 408),
    "half a head that grows": Way(State.HEAD, GET, 408, drips=b"x: y\r\n"),
    "half a head behind a request": Way(State.HEAD, REQUEST + GET, 408),
    "no body": Way(State.BODY, POST + b"content-length: 9\r\n\r\n", 408, echo),
    "half a body": Way(State.BODY, POST + b"content-length: 9\r\n\r\nabc", 408, echo),
    "a body that drips": Way(
        State.BODY, POST + b"content-length: 99999\r\n\r\n", 408, echo, drips=b"x"
    ),
    "half a chunk": Way(State.BODY, CHUNKED + b"5\r\nab", 408, echo),
    "a body nobody reads": Way(
        State.BODY, POST + b"content-length: 9\r\n\r\n", 403, refuse_without_reading
    ),
    "no chunk": Way(State.CHUNK_HEADER, CHUNKED, 408, echo),
    "half a chunk extension": Way(State.CHUNK_HEADER, CHUNKED + b"5;name=", 408, echo),
    "a chunk extension that drips": Way(
        State.CHUNK_HEADER, CHUNKED + b"5;name=", 408, echo, drips=b"x"
    ),
    "no trailers": Way(State.TRAILERS, CHUNKED + b"0\r\n", 408, echo),
    "trailers that drip": Way(State.TRAILERS, CHUNKED + b"0\r\n", 408, echo, drips=b"a: b\r\n"),
    "an answer nobody reads": Way(State.WRITING, REQUEST, None, large, reads=False),
    "answers nobody reads": Way(State.WRITING, REQUEST * 6, None, large, reads=False),
    "a last answer nobody reads": Way(
        State.DRAINING, GET + b"connection: close\r\n\r\n", None, large, reads=False
    ),
    "refused, and not closed": Way(State.DRAINING, b"no http\r\n\r\n", 400),
    "refused, and sends on": Way(State.DRAINING, b"no http\r\n\r\n", 400, drips=b"x"),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
async def test_no_state_lasts(make_server: Callable[..., Any], way: Way) -> None:
    unhandled: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: unhandled.append(context))
    server = make_server(way.app, limits=LIMITS)
    async with server.listening() as address:
        reader, writer = await asyncio.open_connection(*address)
        if not way.reads:
            writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(way.sent)
        entered = await until(lambda: way.state in states(server))
        assert entered, states(server)
        dripping = asyncio.create_task(drip(writer, way.drips)) if way.drips else None
        began = time.monotonic()
        assert await until(lambda: not server.state.connections)
        assert time.monotonic() - began < LONGEST
        if dripping is not None:
            dripping.cancel()
        if way.reads:
            answer = await reader.read()
            assert statuses(answer)[-1:] == ([] if way.status is None else [way.status])
        writer.transport.abort()
        assert await until(lambda: not server.state.tasks)
    assert server.sharing.connections.open == 0
    assert server.sharing.unread.total == 0
    assert unhandled == []


async def test_waiting_for_the_application_ends_with_the_client(
    make_server: Callable[..., Any],
) -> None:
    server = make_server(never, limits=LIMITS)
    async with server.listening() as address:
        _, writer = await asyncio.open_connection(*address)
        writer.write(REQUEST)
        assert await until(lambda: states(server) == {State.WAITING})
        writer.close()
        assert await until(lambda: not server.state.connections and not server.state.tasks)


TOO_MUCH = {
    "request line": (State.HEAD, b"GET /" + b"x" * 3 * KIB, 414),
    "complete request line": (
        State.HEAD, b"GET /" + b"x" * 3 * KIB + b" HTTP/1.1\r\nhost: x\r\n\r\n", 414,
    ),
    "one header field": (State.HEAD, GET + b"x: " + b"x" * 9 * KIB, 431),
    "header fields": (State.HEAD, GET + b"x: y\r\n" * 2 * KIB, 431),
    "complete header fields": (State.HEAD, GET + b"x: y\r\n" * 2 * KIB + b"\r\n", 431),
    "chunk extension": (State.CHUNK_HEADER, CHUNKED + b"1;a=" + b"x" * 3 * KIB, 413),
    "chunk extensions": (
        State.CHUNK_HEADER, CHUNKED + b"1;a=0123456789abcdef\r\nx\r\n" * KIB, 413,
    ),
    "chunk size": (State.CHUNK_HEADER, CHUNKED + b"0" * 3 * KIB, 413),
    "trailer field": (State.TRAILERS, CHUNKED + b"0\r\nx: " + b"x" * 3 * KIB, 431),
    "trailer fields": (State.TRAILERS, CHUNKED + b"0\r\n" + b"x: y\r\n" * KIB, 431),
}  # fmt: skip


@pytest.mark.parametrize(("_", "sent", "status"), TOO_MUCH.values(), ids=TOO_MUCH.keys())
async def test_no_state_keeps_more_bytes_than_it_may(
    exchange: Callable[..., Awaitable[bytes]], _: State, sent: bytes, status: int
) -> None:
    assert statuses(await exchange(echo, sent, limits=LIMITS)) == [status]


async def test_a_body_waits_outside_until_the_application_reads_it(
    make_server: Callable[..., Any],
) -> None:
    may_read = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await may_read.wait()
        await echo(scope, receive, send)

    server = make_server(app, limits=LIMITS)
    size = 20_000_000
    async with server.listening() as address:
        reader, writer = await asyncio.open_connection(*address, limit=2**26)
        writer.write(POST + b"content-length: %d\r\nconnection: close\r\n\r\n" % size)
        writer.write(b"x" * size)
        # Longer than the span for a body: it is the application that does not read.
        await asyncio.sleep(3 * LIMITS.progress)
        (connection,) = server.state.connections
        assert len(connection.cycle.body) < 512 * KIB
        may_read.set()
        async with asyncio.timeout(10):
            assert statuses((await reader.read())[:100]) == [200]
        writer.close()


async def test_pipelined_requests_wait_outside(make_server: Callable[..., Any]) -> None:
    may_answer = asyncio.Event()
    paths = []

    async def app(scope: Scope, _: Receive, send: Send) -> None:
        paths.append(scope["path"])
        await may_answer.wait()
        await respond(send, scope["path"].encode())

    server = make_server(app, limits=LIMITS)
    numbers = range(4_000)
    filler = b"x" * 300
    sent = b"".join(
        b"GET /%d HTTP/1.1\r\nhost: x\r\nx: %b\r\n\r\n" % (number, filler) for number in numbers
    )
    async with server.listening() as address:
        reader, writer = await asyncio.open_connection(*address, limit=2**26)
        writer.write(sent)
        await asyncio.sleep(0.3)
        (connection,) = server.state.connections
        assert paths == ["/0"]
        assert len(connection._buffer) < 512 * KIB < len(sent)
        may_answer.set()
        writer.write(GET + b"connection: close\r\n\r\n")
        async with asyncio.timeout(60):
            answer = await reader.read()
        writer.close()
        assert paths == [*(f"/{number}" for number in numbers), "/"]
        assert answer.count(b"HTTP/1.1 200 OK") == len(numbers) + 1


async def test_answers_nobody_reads_are_bounded_over_all_connections(
    make_server: Callable[..., Any],
) -> None:
    limits = replace(LIMITS, progress=60.0, unread_answer_bytes=30_000_000)
    server = make_server(large, limits=limits)
    async with server.listening() as address:
        connections = [await asyncio.open_connection(*address) for _ in range(10)]
        for _, writer in connections:
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            writer.write(REQUEST * 6)
        assert await until(lambda: server.sharing.unread.total > 30_000_000)
        assert await until(lambda: server.sharing.unread.total <= 30_000_000)
        assert 0 < len(server.state.connections) < 10
        for _, writer in connections:
            writer.transport.abort()
        assert await until(lambda: not server.state.connections)


async def test_a_slow_reader_that_reads_on_is_served(make_server: Callable[..., Any]) -> None:
    server = make_server(large, limits=LIMITS)
    async with server.listening() as address:
        reader, writer = await asyncio.open_connection(*address, limit=64 * KIB)
        writer.write(GET + b"connection: close\r\n\r\n")
        received = 0
        began = time.monotonic()
        while data := await reader.read(400_000):
            received += len(data)
            await asyncio.sleep(0.02)
        writer.close()
        assert time.monotonic() - began > LIMITS.progress
        assert received > 8_000_000


def test_the_documentation_has_every_state_and_bound() -> None:
    text = DOCS.read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([a-z ]+)` \|(.*)$", text, re.MULTILINE))
    assert set(rows) == {state.value for state in State}
    limits = Limits()
    for state, *bounds in (
        (State.IDLE, limits.keep_alive, limits.head),
        (State.HEAD, limits.head_bytes // KIB, limits.request_line_bytes // KIB, limits.head),
        (State.BODY, limits.bytes_per_second, limits.progress),
        (State.CHUNK_HEADER, limits.chunk_framing_bytes // KIB, limits.progress),
        (State.TRAILERS, limits.trailer_bytes // KIB, limits.progress),
        (State.WAITING, limits.pipelined_bytes // KIB),
        (State.WRITING, limits.unread_answer_bytes // KIB**2, limits.progress),
        (State.DRAINING, limits.discarded_bytes // KIB**2, limits.linger),
        (State.UPGRADED, limits.websocket_close),
    ):
        for bound in bounds:
            assert f"{bound:g} " in rows[state.value], (state, bound)


def states(server: Any) -> set[State]:
    """The states of the connections; one that writes reads nothing."""
    return {
        State.WRITING
        if connection.flow.write_paused and connection.state is not State.DRAINING
        else connection.state
        for connection in server.state.connections
    }


async def drip(writer: asyncio.StreamWriter, data: bytes) -> None:
    while True:
        writer.write(data)
        await asyncio.sleep(0.1)


async def until(condition: Callable[[], bool]) -> bool:
    for _ in range(500):
        if condition():
            return True
        await asyncio.sleep(0.01)
    return False
