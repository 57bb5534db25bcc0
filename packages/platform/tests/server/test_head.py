"""Heads of requests: what is refused because two servers could read it differently (CWE-444)."""

from collections.abc import Callable
from typing import Any

import pytest
from raw_http import CHUNKED, LAST_REQUEST, Recorder, echo, last_json, problem, statuses

from service_platform.errors import BadRequest
from service_platform.server.head import HeadParser, is_token_start, read_leniently

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


def test_a_head_is_parsed_into_what_it_says() -> None:
    head = HeadParser().parse(
        b"PUT /a%2Fb/%C3%A9?q=%20 HTTP/1.1\r\nHost: x\r\nX-Name:  value\r\n"
        b"Content-Length: 12\r\nExpect: 100-Continue\r\n\r\n"
    )
    assert (head.method, head.version) == ("PUT", "1.1")
    assert (head.path, head.raw_path, head.query) == ("/a/b/é", b"/a%2Fb/%C3%A9", b"q=%20")
    assert head.headers[:2] == [(b"host", b"x"), (b"x-name", b"value")]
    assert (head.content_length, head.expects_continue) == (12, True)
    assert (head.keep_alive, head.websocket) == (True, False)


@pytest.mark.parametrize(
    ("lines", "kept"),
    [
        (b"HTTP/1.1\r\nhost: x\r\n", True),
        (b"HTTP/1.1\r\nhost: x\r\nconnection: close\r\n", False),
        (b"HTTP/1.0\r\n", False),
        (b"HTTP/1.0\r\nconnection: keep-alive\r\n", False),
    ],
)
def test_connections_are_kept_for_http_1_1_only(lines: bytes, *, kept: bool) -> None:
    assert HeadParser().parse(b"GET / " + lines + b"\r\n").keep_alive is kept


def test_a_parser_goes_on_after_content_and_after_what_it_refused() -> None:
    parser = HeadParser()
    assert parser.parse(POST + b"content-length: 5\r\n\r\n").content_length == 5
    assert parser.parse(POST + b"transfer-encoding: chunked\r\n\r\n").content_length is None
    with pytest.raises(BadRequest):
        parser.parse(POST + b"x: a\x00b\r\n\r\n")
    head = parser.parse(HIDDEN)
    assert (head.path, head.content_length, head.headers) == ("/hidden", 0, [(b"host", b"x")])


def test_a_method_begins_with_a_token_character() -> None:
    assert all(is_token_start(byte) for byte in b"GPOz0!~")
    assert not any(is_token_start(byte) for byte in b" \r\n\t\x16(/:@\x7f\x80\xff\x00")


def test_what_can_be_read_of_a_refused_head_is_read() -> None:
    method, path, headers = read_leniently(
        b"GET /a?secret=1 HTTP/9\r\nHost:  x \r\nno colon\r\nb ad: y\r\nX-A: 1\r\nX-B: 2"
    )
    assert (method, path) == ("GET", "/a")
    # The last line may go on, so it is left out.
    assert headers == [(b"host", b"x"), (b"x-a", b"1")]


@pytest.mark.parametrize("fold", [b" ", b"\t"])
def test_a_folded_line_of_a_refused_head_is_left_out(fold: bytes) -> None:
    head = b"GET / HTTP/1.1\r\nx-a: 1\r\n" + fold + b"x-c: 2\r\nx-b: 3\r\n\r\n"
    assert read_leniently(head)[2] == [(b"x-b", b"3")]


@pytest.mark.parametrize("head", [b"", b"GET", b"\x16\x03\x01 hello", b"G(T / HTTP/1.1\r\n"])
def test_a_refused_head_without_a_method_has_no_path(head: bytes) -> None:
    assert read_leniently(head)[:2] == ("", "")


def test_a_refused_head_is_read_up_to_a_limit() -> None:
    head = b"G" * 99 + b" /" + b"x" * 999 + b" HTTP/1.1\r\n" + b"x: y\r\n" * 999
    method, path, headers = read_leniently(head)
    assert (len(method), len(path), len(headers)) == (32, 256, 99)


@pytest.mark.parametrize("space", [b" ", b"\t", b" \t "])
def test_white_space_around_a_value_is_no_part_of_it(space: bytes) -> None:
    head = b"GET / HTTP/1.1\r\nhost:%bexample%b\r\nx-name:%ba b%b\r\n\r\n" % ((space,) * 4)
    assert dict(HeadParser().parse(head).headers)[b"host"] == b"example"
    assert dict(HeadParser().parse(head).headers)[b"x-name"] == b"a b"
