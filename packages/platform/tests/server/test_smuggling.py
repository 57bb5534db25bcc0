"""Requests that two servers could understand differently are refused (CWE-444, RFC 9112)."""

from collections.abc import Callable
from typing import Any

import pytest
from raw_http import CHUNKED, LAST_REQUEST, REQUEST, Recorder, echo, last_json, problem, statuses

Exchange = Callable[..., Any]

POST = b"POST / HTTP/1.1\r\nhost: x\r\n"
HIDDEN = b"GET /hidden HTTP/1.1\r\nhost: x\r\n\r\n"


@pytest.mark.parametrize(
    ("head", "status"),
    [
        pytest.param(POST + b"content-length: 3\r\ntransfer-encoding: chunked", 400, id="both"),
        pytest.param(POST + b"transfer-encoding: chunked\r\ncontent-length: 3", 400, id="both 2"),
        pytest.param(POST + b"content-length: 3\r\ncontent-length: 3", 400, id="length twice"),
        pytest.param(POST + b"content-length: 3\r\ncontent-length: 4", 400, id="two lengths"),
        pytest.param(POST + b"content-length: 3, 3", 400, id="length list"),
        pytest.param(POST + b"content-length: +3", 400, id="signed length"),
        pytest.param(POST + b"content-length: -3", 400, id="negative length"),
        pytest.param(POST + b"content-length: 0x3", 400, id="hexadecimal length"),
        pytest.param(POST + b"content-length:", 400, id="empty length"),
        pytest.param(POST + b"content-length: " + b"9" * 30, 400, id="endless length"),
        pytest.param(POST + b"content-length : 3", 400, id="space before colon"),
        pytest.param(POST + b"content-length\t: 3", 400, id="tab before colon"),
        pytest.param(POST + b" content-length: 3", 400, id="space before name"),
        pytest.param(POST + b"x: a\r\n b", 400, id="folded line"),
        pytest.param(POST + b"x: a\r\n\tb", 400, id="line folded by tab"),
        pytest.param(POST + b"x: a\nb: c", 400, id="bare line feed"),
        pytest.param(POST + b"x: a\rb: c", 400, id="bare carriage return"),
        pytest.param(POST + b"x: a\x00b", 400, id="nul"),
        pytest.param(POST + b"x\x00: a", 400, id="nul in name"),
        pytest.param(POST + b"x: \x01", 400, id="control character"),
        pytest.param(POST + b": a", 400, id="no name"),
        pytest.param(POST + b"no colon", 400, id="no colon"),
        pytest.param(POST + b"transfer-encoding: gzip, chunked", 501, id="gzip, chunked"),
        pytest.param(POST + b"transfer-encoding: gzip", 501, id="gzip"),
        pytest.param(POST + b"transfer-encoding: identity", 501, id="identity"),
        pytest.param(POST + b"transfer-encoding: xchunked", 501, id="xchunked"),
        pytest.param(
            POST + b"transfer-encoding: gzip\r\ntransfer-encoding: chunked", 501, id="two fields"
        ),
        pytest.param(POST + b"transfer-encoding: chunked, chunked", 400, id="chunked twice"),
        pytest.param(
            POST + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked",
            400,
            id="two chunked",
        ),
        pytest.param(POST + b"transfer-encoding: chunked\x0b", 400, id="vertical tab"),
        pytest.param(POST + b"transfer-encoding:", 400, id="empty coding"),
        pytest.param(
            b"POST / HTTP/1.0\r\nhost: x\r\ntransfer-encoding: chunked", 400, id="HTTP/1.0 chunked"
        ),
        pytest.param(b"GET / HTTP/1.1", 400, id="no host"),
        pytest.param(b"GET / HTTP/1.1\r\nhost: a\r\nhost: b", 400, id="two hosts"),
        pytest.param(b"GET / HTTP/1.1\r\nhost: a\r\nHost: a", 400, id="host twice"),
        pytest.param(b"GET / HTTP/1.0\r\nhost: a\r\nhost: b", 400, id="two hosts in HTTP/1.0"),
        pytest.param(b"GET / HTTP/1.1\r\nhost: a b", 400, id="host of two words"),
        pytest.param(b"GET / HTTP/1.1\r\nhost: a/b", 400, id="host with a path"),
        pytest.param(b"GET / HTTP/1.1\r\nhost: user@a", 400, id="host with a user"),
        pytest.param(b"GET / HTTP/1.1\r\nhost: a:b", 400, id="port of letters"),
        pytest.param(b"GET / HTTP/1.1\r\nhost:", 400, id="empty host"),
        pytest.param(b"GET / HTTP/1.1\r\nhost: [::1", 400, id="half an address"),
        pytest.param(b"GET  / HTTP/1.1\r\nhost: x", 400, id="two spaces"),
        pytest.param(b"GET / HTTP/1.1 \r\nhost: x", 400, id="space behind version"),
        pytest.param(b"GET /a b HTTP/1.1\r\nhost: x", 400, id="space in target"),
        pytest.param(b"GET /\xc3\xa9 HTTP/1.1\r\nhost: x", 400, id="target not ASCII"),
        pytest.param(b"GET path HTTP/1.1\r\nhost: x", 400, id="target without slash"),
        pytest.param(b"GET / HTTP/1.1\nhost: x", 400, id="request line without CR"),
        pytest.param(b"GET /\r\nhost: x", 400, id="HTTP/0.9"),
        pytest.param(b"GET / RTSP/1.0\r\nhost: x", 400, id="another protocol"),
        pytest.param(b"GET / HTTP/1.10\r\nhost: x", 400, id="version of three digits"),
        pytest.param(b"GET / HTTP/2.0\r\nhost: x", 505, id="HTTP/2.0"),
        pytest.param(b"GET / HTTP/1.2\r\nhost: x", 505, id="HTTP/1.2"),
        pytest.param(b"PRI * HTTP/2.0", 505, id="preface of HTTP/2"),
        pytest.param(b"FOO / HTTP/1.1\r\nhost: x", 501, id="unknown method"),
        pytest.param(b"get / HTTP/1.1\r\nhost: x", 501, id="method in lower case"),
        pytest.param(b"CONNECT a:80 HTTP/1.1\r\nhost: a:80", 501, id="connect"),
        pytest.param(b"G(T / HTTP/1.1\r\nhost: x", 400, id="method of no token"),
        pytest.param(b"\x16\x03\x01 hello", 400, id="tls"),
    ],
)
async def test_an_ambiguous_head_is_refused(exchange: Exchange, head: bytes, status: int) -> None:
    app = Recorder()
    answer = await exchange(app, head + b"\r\n\r\n" + HIDDEN)
    assert problem(answer)["status"] == status
    assert statuses(answer) == [status]
    assert app.paths == []


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


@pytest.mark.parametrize("protocol", [b"h2c", b"websocket", b"TLS/1.0", b"foo, bar"])
@pytest.mark.parametrize("method", [b"POST", b"PUT"])
async def test_a_request_for_another_protocol_is_a_request_like_any(
    exchange: Exchange, protocol: bytes, method: bytes
) -> None:
    body = HIDDEN
    head = method + b" / HTTP/1.1\r\nhost: x\r\nupgrade: " + protocol
    head += b"\r\nconnection: Upgrade, HTTP2-Settings\r\nhttp2-settings: AAMAAABkAARAAAAAAAIAAAAA"
    length = b"\r\ncontent-length: %d\r\n\r\n" % len(body)
    answer = await exchange(echo, head + length + body + LAST_REQUEST)
    assert statuses(answer) == [200, 200]
    assert b"/hidden" in answer.split(b"HTTP/1.1 200")[1]
    assert last_json(answer)["path"] == "/"


async def test_a_chunked_request_for_another_protocol_is_a_request_like_any(
    exchange: Exchange,
) -> None:
    head = CHUNKED[:-2] + b"upgrade: h2c\r\nconnection: upgrade\r\n\r\n"
    chunk = b"%x\r\n%b\r\n0\r\n\r\n" % (len(HIDDEN), HIDDEN)
    answer = await exchange(echo, head + chunk + LAST_REQUEST)
    assert statuses(answer) == [200, 200]
    assert last_json(answer)["path"] == "/"


async def test_the_host_of_an_absolute_target_counts(exchange: Exchange) -> None:
    sent = b"GET http://real.test:81/a?b HTTP/1.1\r\nhost: other\r\nconnection: close\r\n\r\n"
    told = last_json(await exchange(echo, sent))
    assert told["path"] == "/a"
    assert told["headers"] == [["host", "real.test:81"], ["connection", "close"]]


@pytest.mark.parametrize("host", [b"a", b"a.b:80", b"127.0.0.1", b"[::1]:8000", b"a_b.test:"])
async def test_valid_hosts_are_served(exchange: Exchange, host: bytes) -> None:
    answer = await exchange(
        echo, b"GET / HTTP/1.1\r\nhost: " + host + b"\r\n" + b"connection: close\r\n\r\n"
    )
    assert statuses(answer) == [200]


async def test_old_clients_need_no_host(exchange: Exchange) -> None:
    assert statuses(await exchange(echo, b"GET / HTTP/1.0\r\n\r\n")) == [200]


async def test_empty_lines_before_a_request_are_skipped(exchange: Exchange) -> None:
    answer = await exchange(echo, b"\r\n\r\n" + REQUEST + b"\r\n" + LAST_REQUEST)
    assert statuses(answer) == [200, 200]
