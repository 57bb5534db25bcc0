"""Back pressure: when the server reads from a connection and when it does not."""

import asyncio

from socket_pairs import connected

from service_platform.server.flow import Flow, ResponseTransport


class Received(asyncio.Protocol):
    """Notes what arrives."""

    def __init__(self) -> None:
        self.data = b""

    def data_received(self, data: bytes) -> None:
        self.data += data


async def test_nothing_is_read_while_reading_is_paused() -> None:
    received, resumed = Received(), list[bytes]()
    async with connected(received) as (transport, there):
        flow = Flow(transport, lambda: resumed.append(received.data))
        flow.pause_reading()
        there.send(b"first")
        await asyncio.sleep(0.05)
        assert (received.data, resumed) == (b"", [])
        flow.resume_reading()
        assert resumed == [b""]
        await asyncio.sleep(0.05)
        assert received.data == b"first"


async def test_the_application_cannot_resume_what_the_server_holds() -> None:
    received, resumed = Received(), list[bool]()
    async with connected(received) as (transport, there):
        flow = Flow(transport, lambda: resumed.append(True))
        flow.hold()
        flow.resume_reading()
        there.send(b"first")
        await asyncio.sleep(0.05)
        assert (received.data, flow.read_paused, resumed) == (b"", True, [])
        flow.release()
        await asyncio.sleep(0.05)
        assert (received.data, flow.read_paused, resumed) == (b"first", False, [True])


async def test_resuming_is_told_only_after_a_pause() -> None:
    resumed: list[bool] = []
    async with connected() as (transport, _):
        flow = Flow(transport, lambda: resumed.append(True))
        flow.resume_reading()
        flow.release()
    assert resumed == []


async def test_a_response_writes_through_and_leaves_closing_to_the_connection() -> None:
    closed: list[bool] = []
    async with connected() as (transport, there):
        response = ResponseTransport(transport, lambda: closed.append(True))
        response.write(b"answer")
        assert there.recv(100) == b"answer"
        response.close()
        assert (closed, transport.is_closing(), response.is_closing()) == ([True], False, False)


async def test_a_response_cannot_go_on_once_the_connection_closes() -> None:
    async with connected() as (transport, _):
        refused = ResponseTransport(transport, lambda: None)
        refused.closed = True
        assert refused.is_closing()
        response = ResponseTransport(transport, lambda: None)
        transport.close()
        assert response.is_closing()
