"""Content of requests: of known length and in chunks, however it arrives."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from raw_http import CHUNKED, LAST_REQUEST, echo, last_json, problem, statuses

from service_platform.errors import Problem
from service_platform.server.content import ChunkedContent, Content, FixedContent
from service_platform.server.states import Limits, State

Exchange = Callable[..., Any]

HIDDEN = b"GET /hidden HTTP/1.1\r\nhost: x\r\n\r\n"
LIMITS = Limits(chunk_framing_bytes=32, trailer_bytes=32)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"x\r\n\r\n", id="no size"),
        pytest.param(b"+3\r\nabc\r\n0\r\n\r\n", id="signed"),
        pytest.param(b"-1\r\n", id="negative"),
        pytest.param(b"0x3\r\nabc\r\n0\r\n\r\n", id="prefixed"),
        pytest.param(b"3 \r\nabc\r\n0\r\n\r\n", id="space behind"),
        pytest.param(b" 3\r\nabc\r\n0\r\n\r\n", id="space before"),
        pytest.param(b"f" * 17 + b"\r\n", id="endless size"),
        pytest.param(b"3\nabc\r\n0\r\n\r\n", id="bare line feed"),
        pytest.param(b"3\rabc\r\n0\r\n\r\n", id="bare carriage return"),
        pytest.param(b"3;a\nb\r\nabc\r\n0\r\n\r\n", id="line feed in extension"),
        pytest.param(b"3\r\nabcd\r\n0\r\n\r\n", id="longer than said"),
        pytest.param(b"3\r\nabcXX0\r\n\r\n", id="no line end"),
        pytest.param(b"3\r\nabc\n0\r\n\r\n", id="line feed behind content"),
        pytest.param(b"0\r\nno colon\r\n\r\n", id="malformed trailer"),
        pytest.param(b"0\r\na : b\r\n\r\n", id="trailer with space"),
        pytest.param(b"0\r\na: b\nc: d\r\n\r\n", id="line feed in trailer"),
    ],
)
async def test_malformed_chunks_are_refused(exchange: Exchange, content: bytes) -> None:
    answer = await exchange(echo, CHUNKED + content + HIDDEN)
    assert problem(answer)["status"] == 400
    assert statuses(answer) == [400]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
async def test_chunks_may_arrive_in_any_parts(exchange: Exchange, size: int) -> None:
    sent = CHUNKED + b"3;name=value\r\nabc\r\n00A\r\n0123456789\r\n0\r\nx: y\r\n\r\n" + LAST_REQUEST
    parts = [sent[at : at + size] for at in range(0, len(sent), size)]
    answer = await exchange(echo, *parts)
    assert statuses(answer) == [200, 200]
    assert b'"body": "abc0123456789"' in answer


@pytest.mark.parametrize(
    "trailer",
    [
        b"Authorization: Bearer T",
        b"Host: other",
        b"Content-Length: 5",
        b"X-Forwarded-For: 10.0.0.1",
        b"x-anything: y",
    ],
)
async def test_trailer_fields_never_become_header_fields(
    exchange: Exchange, trailer: bytes
) -> None:
    sent = CHUNKED + b"3\r\nabc\r\n0\r\n" + trailer + b"\r\n\r\n"
    answer = await exchange(echo, sent + LAST_REQUEST)
    assert statuses(answer) == [200, 200]
    first, second = answer.split(b"HTTP/1.1 ")[1:]
    headers = [["host", "x"], ["transfer-encoding", "chunked"]]
    assert last_json(first)["headers"] == headers
    assert last_json(second)["headers"] == [["host", "x"], ["connection", "close"]]


@st.composite
def chunked_bodies(draw: st.DrawFn) -> bytes:
    """Bodies in chunks with extensions and trailer fields, some of them damaged at a place."""
    body = b""
    for chunk in draw(st.lists(st.binary(min_size=1, max_size=40), max_size=4)):
        size = draw(st.sampled_from([b"%x", b"%X", b"00%x"])) % len(chunk)
        extension = draw(st.sampled_from([b"", b";a", b" ; a=b", b";a=" + b"b" * 30]))
        body += size + extension + b"\r\n" + chunk + b"\r\n"
    trailers = draw(
        st.lists(st.sampled_from([b"a: b\r\n", b"c:\r\n", b"d: " + b"e" * 12 + b"\r\n"]))
    )
    body += b"0\r\n" + b"".join(trailers) + b"\r\n"
    if draw(st.booleans()):
        at = draw(st.integers(0, len(body)))
        damage = draw(st.sampled_from([b"\r", b"\n", b"\r\n", b"x", b":", b" ", b"\x00"]))
        body = body[:at] + damage + body[at + draw(st.integers(0, 2)) :]
    return body + draw(st.sampled_from([b"", b"GET /"]))


def outcome(content: Content, *parts: bytes) -> tuple[bytes, bytes, bool, State] | str:
    """What is read of a body that arrives in parts, and what is left; or the error it ends in."""
    buffer, taken = bytearray(), b""
    try:
        for part in parts:
            buffer += part
            taken += content.take(buffer)
    except Problem as problem_:
        return f"{problem_.status} {problem_.detail}"
    return taken, bytes(buffer), content.complete, content.state


@settings(max_examples=150, deadline=None)
@given(chunked_bodies())
@example(b"3\r\nabc\r\n0\r\n\r\n")
@example(b"3\nabc\r\n0\r\n\r\n")
@example(b"1\r\rx\r\n")
@example(b"1;a=" + b"b" * 99 + b"\r\nx")
@example(b"1;\n" + b"b" * 99 + b"\r\nx")
@example(b"1;a=" + b"b" * 44 + b"\r\nx\r\n0\r\n\r\n")  # as long as allowed
@example(b"0\r\na:" + b"b" * 30 + b"\r\n\r\n")
@example(b"0\r\na: b\nc: d\r\n\r\n")
def test_a_chunked_body_cut_at_any_place_reads_the_same(body: bytes) -> None:
    whole = outcome(ChunkedContent(LIMITS), body)
    for at in range(len(body) + 1):
        assert outcome(ChunkedContent(LIMITS), body[:at], body[at:]) == whole
    bytewise = (body[at : at + 1] for at in range(len(body)))
    assert outcome(ChunkedContent(LIMITS), *bytewise) == whole


@given(st.binary(max_size=50), st.integers(0, 50), st.integers(0, 50))
def test_content_of_known_length_ends_there(data: bytes, length: int, cut: int) -> None:
    read = outcome(FixedContent(length), data[:cut], data[cut:])
    assert read == (data[:length], data[length:], len(data) >= length, State.BODY)


def test_chunked_content_tells_what_comes_next() -> None:
    content, buffer = ChunkedContent(LIMITS), bytearray()
    states = [content.state]
    for part in b"3", b"\r\n", b"abc", b"\r\n", b"0\r\n", b"a: b\r\n":
        buffer += part
        content.take(buffer)
        states.append(content.state)
    header, body, trailers = State.CHUNK_HEADER, State.BODY, State.TRAILERS
    assert states == [header, header, body, body, header, trailers, trailers]
    assert not content.complete
    content.take(bytearray(b"\r\n"))
    assert content.complete


@pytest.mark.parametrize(
    ("line", "behind"),
    [(b"1;a=" + b"b" * 44, b"x\r\n0\r\n\r\n"), (b"0\r\na:" + b"b" * 28, b"\r\n")],
    ids=["chunk header", "trailer field"],
)
def test_a_line_may_be_as_long_as_its_limit(line: bytes, behind: bytes) -> None:
    for end in [b"\r\n"], [b"\r", b"\n"]:
        read = outcome(ChunkedContent(LIMITS), line, *end, behind)
        assert isinstance(read, tuple), read
        assert read[2]
    assert isinstance(outcome(ChunkedContent(LIMITS), line + b"b\r\n" + behind), str)
