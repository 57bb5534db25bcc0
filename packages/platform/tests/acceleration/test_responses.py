"""The accelerated response writes what uvicorn writes, and refuses what uvicorn refuses."""

import asyncio
import logging
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from service_platform.acceleration.responses import MAX_LINES, ResponseCycle, _lines

Message = dict[str, Any]

HEADERS = st.lists(
    st.sampled_from(
        [
            (b"content-length", b"0"),
            (b"Content-Length", b"2"),
            (b"content-length", b"4"),
            (b"transfer-encoding", b"chunked"),
            (b"transfer-encoding", b"gzip"),
            (b"connection", b"keep-alive, Close"),
            (b"Connection", b"upgrade"),
            (b"x-note", b""),
            (b"X-Note", b"\xff"),
            (b"x-note", b"a\nb"),
        ]
    ),
    max_size=3,
)
STARTS = st.fixed_dictionaries(
    {"status": st.sampled_from([200, 204, 304, 404]), "headers": HEADERS}
).map(lambda start: {"type": "http.response.start", **start})
BODIES = st.fixed_dictionaries(
    {"body": st.sampled_from([b"", b"ab", b"abcd"]), "more_body": st.booleans()}
).map(lambda body: {"type": "http.response.body", **body})


class Transport:
    """Remembers what is written."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.writes.append(bytes(data))

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


def cycle_of(
    kind: type[RequestResponseCycle], transport: Transport, method: str, *, keep_alive: bool
) -> RequestResponseCycle:
    logger = logging.getLogger("test")
    scope: Any = {"type": "http", "method": method, "path": "/", "http_version": "1.1"}
    shared: Any = transport
    return kind(
        scope,
        shared,
        FlowControl(shared),
        logger,
        logger,
        access_log=False,
        default_headers=[(b"date", b"now")],
        message_event=asyncio.Event(),
        expect_100_continue=False,
        keep_alive=keep_alive,
        on_response=lambda: None,
    )


async def outcome(
    kind: type[RequestResponseCycle], messages: list[Message], method: str, *, keep_alive: bool
) -> tuple[Any, ...]:
    """What is on the wire at the end, or at which message it was refused."""
    transport = Transport()
    cycle = cycle_of(kind, transport, method, keep_alive=keep_alive)
    for number, message in enumerate(messages):
        event: Any = {**message}
        try:
            await cycle.send(event)
        except RuntimeError:
            return ("refused", number)
    if cycle.response_started and not cycle.response_complete and not cycle.chunked_encoding:
        return ("waiting", cycle.expected_content_length)  # the head may not be on the wire yet
    written = b"".join(transport.writes)
    return (written, transport.closed, cycle.keep_alive, cycle.response_complete)


@settings(deadline=None)  # machines of a build may be slow
@example(
    messages=[
        {"type": "http.response.start", "status": 200, "headers": [(b"connection", b"close")]},
        {"type": "http.response.body", "body": b"ab", "more_body": False},
    ],
    method="GET",
    keep_alive=True,
)
@given(
    messages=st.tuples(STARTS, st.lists(st.one_of(BODIES, STARTS), max_size=4)).map(
        lambda parts: [parts[0], *parts[1]]
    )
    | st.lists(st.one_of(STARTS, BODIES), max_size=4),
    method=st.sampled_from(["GET", "HEAD", "POST"]),
    keep_alive=st.booleans(),
)
async def test_every_response_is_the_same(
    messages: list[Message], method: str, keep_alive: bool
) -> None:
    accelerated = await outcome(ResponseCycle, messages, method, keep_alive=keep_alive)
    assert accelerated == await outcome(
        RequestResponseCycle, messages, method, keep_alive=keep_alive
    )


async def test_a_response_of_known_length_is_one_write() -> None:
    transport = Transport()
    cycle: Any = cycle_of(ResponseCycle, transport, "GET", keep_alive=True)
    start = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]}
    await cycle.send(start)
    assert transport.writes == []
    await cycle.send({"type": "http.response.body", "body": b"ok"})
    assert len(transport.writes) == 1


@pytest.mark.parametrize("name", [b"", b"x note", b"x\r\nset-cookie"])
async def test_a_name_that_is_none_is_refused(name: bytes) -> None:
    cycle: Any = cycle_of(ResponseCycle, Transport(), "GET", keep_alive=True)
    with pytest.raises(RuntimeError, match="characters"):
        await cycle.send(
            {"type": "http.response.start", "status": 200, "headers": [(name, b"stolen")]}
        )


async def test_remembered_headers_do_not_fill_the_memory() -> None:
    for number in range(3 * MAX_LINES):
        headers = [(b"x-number", b"%d" % number), (b"content-length", b"0")]
        transport = Transport()
        cycle: Any = cycle_of(ResponseCycle, transport, "GET", keep_alive=True)
        await cycle.send({"type": "http.response.start", "status": 200, "headers": headers})
        await cycle.send({"type": "http.response.body", "body": b""})
        assert b"x-number: %d\r\n" % number in transport.writes[0]
    assert len(_lines) <= MAX_LINES
