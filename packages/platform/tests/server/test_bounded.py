"""What every connection has: its place among the others, refusals, and an end in order."""

import asyncio
from collections.abc import Callable
from typing import Any

from prometheus_client import REGISTRY
from raw_http import GET, REQUEST, ok, respond, statuses
from starlette.types import Receive, Scope, Send

from service_platform.server.states import Limits, State

MakeServer = Callable[..., Any]

LIMITS = Limits(linger=0.3, discarded_bytes=100_000)


async def settled(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)


async def test_a_connection_is_counted_until_it_is_lost(make_server: MakeServer) -> None:
    server = make_server(ok)
    async with server.listening() as at:
        _, writer = await asyncio.open_connection(*at)
        await settled(lambda: len(server.state.connections) == server.sharing.connections.open == 1)
        writer.close()
        await settled(lambda: not server.state.connections)
        assert server.sharing.connections.open == 0


async def test_an_idle_connection_is_closed_at_the_end_of_a_drain(make_server: MakeServer) -> None:
    server = make_server(ok)
    async with server.listening() as at:
        reader, writer = await asyncio.open_connection(*at)
        await settled(lambda: bool(server.state.connections))
        (connection,) = server.state.connections
        connection.shutdown()
        async with asyncio.timeout(5):
            assert await reader.read() == b""
        writer.close()


async def test_an_answer_under_way_is_ended_before_a_drain_closes(make_server: MakeServer) -> None:
    may_answer = asyncio.Event()

    async def app(_: Scope, __: Receive, send: Send) -> None:
        await may_answer.wait()
        await respond(send, b"ok")

    server = make_server(app)
    async with server.listening() as at:
        reader, writer = await asyncio.open_connection(*at)
        writer.write(REQUEST)
        await settled(lambda: bool(server.state.tasks))
        (connection,) = server.state.connections
        connection.shutdown()
        assert connection.state is State.WAITING
        may_answer.set()
        async with asyncio.timeout(5):
            answer = await reader.read()
        assert statuses(answer) == [200]
        assert b"connection: close\r\n" in answer
        writer.close()


async def test_a_connection_given_up_is_counted_by_its_reason(make_server: MakeServer) -> None:
    name, labels = "http_server_connections_closed_total", {"reason": "of_this_test"}
    before = REGISTRY.get_sample_value(name, labels) or 0.0
    server = make_server(ok)
    async with server.listening() as at:
        reader, writer = await asyncio.open_connection(*at)
        await settled(lambda: bool(server.state.connections))
        (connection,) = server.state.connections
        connection.abort("of_this_test")
        async with asyncio.timeout(5):
            assert await reader.read() == b""
        await settled(lambda: not server.state.connections)
        writer.close()
    assert REGISTRY.get_sample_value(name, labels) == before + 1


async def test_a_refused_client_that_sends_on_gets_its_answer(make_server: MakeServer) -> None:
    """Without the half close it would be reset and lose the answer (RFC 9112, section 9.6)."""
    server = make_server(ok, limits=LIMITS)
    async with server.listening() as at:
        reader, writer = await asyncio.open_connection(*at)
        writer.write(b"no http\r\n\r\n")
        await settled(lambda: {each.state for each in server.state.connections} == {State.DRAINING})
        writer.write(b"x" * 50_000)
        async with asyncio.timeout(5):
            assert statuses(await reader.read()) == [400]
        writer.close()


async def test_a_refused_client_that_sends_without_end_is_left(make_server: MakeServer) -> None:
    server = make_server(ok, limits=Limits(linger=60.0, discarded_bytes=100_000))
    async with server.listening() as at:
        _, writer = await asyncio.open_connection(*at)
        writer.write(b"no http\r\n\r\n" + b"x" * 500_000)
        await settled(lambda: server.sharing.connections.open == 0 and not server.state.connections)
        writer.transport.abort()


async def test_an_application_learns_that_its_client_has_left(make_server: MakeServer) -> None:
    told: list[str] = []

    async def app(_: Scope, receive: Receive, __: Send) -> None:
        await receive()
        told.append((await receive())["type"])

    server = make_server(app)
    async with server.listening() as at:
        _, writer = await asyncio.open_connection(*at)
        writer.write(GET + b"\r\n")
        await settled(lambda: bool(server.state.tasks))
        writer.close()
        await settled(lambda: told == ["http.disconnect"] and not server.state.tasks)
