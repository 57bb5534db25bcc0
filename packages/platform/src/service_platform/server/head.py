"""Reads the head of an HTTP/1.1 request: request line and header fields (RFC 9112).

llhttp (through httptools) parses; what it lets pass and two servers could understand differently is
refused here, because that is how requests are smuggled (CWE-444).
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Final
from urllib.parse import unquote

import httptools

from service_platform.errors import (
    BadRequest,
    HttpVersionNotSupported,
    NotImplementedByService,
    Problem,
)

HeaderPairs = list[tuple[bytes, bytes]]

_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_request_line: Final = re.compile(rb"%b [!-~]+ HTTP/(\d\.\d)" % _TOKEN).fullmatch
_is_host: Final = re.compile(
    rb"(?:[A-Za-z0-9._~!$&'()*+,;=%-]+|\[[0-9A-Fa-f:.]+\]|\[[vV][0-9A-Fa-f]+\.[!-~]+\])(?::\d{0,5})?"
).fullmatch
_authority: Final = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://([^/?#]*)").match

_FRAMING: Final = frozenset(
    {b"host", b"content-length", b"transfer-encoding", b"expect", b"upgrade"}
)
"""Header fields that the connection depends on."""
_FIRST_BYTES: Final = frozenset(byte for byte in range(128) if re.match(_TOKEN, bytes([byte])))

NO_HTTP: Final = "This is not a valid HTTP request."
UNKNOWN_METHOD: Final = "The service does not know this method."
CODING: Final = "The only transfer coding the service knows is chunked."


@dataclass(slots=True)
class RequestHead:
    """What the head of a request says.

    Attributes:
        method: as it was sent; methods are case-sensitive.
        path: the target's path with its percent-encoding taken away.
        raw_path: the same as it was sent.
        query: behind `?`, as it was sent.
        version: `1.1` or `1.0`.
        headers: header fields in order, names in lower case.
        keep_alive: the client wants to send further requests on this connection.
        content_length: bytes of content; `None` where it is chunked.
        expects_continue: the client waits for `100 Continue` before it sends content.
        websocket: the client asks for a WebSocket (RFC 6455, section 4.1).
    """

    method: str
    path: str
    raw_path: bytes
    query: bytes
    version: str
    headers: HeaderPairs
    keep_alive: bool
    content_length: int | None = 0
    expects_continue: bool = False
    websocket: bool = False


class HeadParser:
    """Parses one head after the other."""

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._complete = False
        self._keep_alive = True
        self._url = b""
        self._headers: HeaderPairs = []
        self._framing: HeaderPairs = []

    def parse(self, head: bytes) -> RequestHead:
        """Parse a complete head, its empty line included.

        Raises:
            Problem: 400 where it is malformed or ambiguous, 501 for an unknown method or transfer
                coding, 505 for another version of HTTP.
        """
        version = _version(head[: head.index(b"\r\n")])
        self._url = b""
        self._headers = []
        self._framing = []
        if not self._complete:
            # llhttp expects the content of the request before, which it never gets to see.
            self._parser = httptools.HttpRequestParser(self)
        self._complete = False
        try:
            self._parser.feed_data(head)
        except httptools.HttpParserUpgrade:
            self._complete = False
        except httptools.HttpParserError as error:
            self._complete = False
            raise self._explain(head, error) from None
        return self._request(self._parser.get_method(), version)

    def on_url(self, url: bytes) -> None:
        """Take a part of the target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header field."""
        # llhttp leaves white space after a value, which is no part of it (RFC 9110, section 5.5).
        name, value = name.lower(), value.rstrip(b" \t")
        self._headers.append((name, value))
        if name in _FRAMING:
            self._framing.append((name, value))

    def on_headers_complete(self) -> None:
        """Note what llhttp forgets when a request without content is complete."""
        self._keep_alive = self._parser.should_keep_alive()

    def on_message_complete(self) -> None:
        """Note that the request has no content, so that the next head can follow."""
        self._complete = True

    def _explain(self, head: bytes, error: httptools.HttpParserError) -> Problem:
        """Return the problem for what llhttp refused."""
        if isinstance(error, httptools.HttpParserInvalidMethodError):
            well_formed = _request_line(head, 0, head.index(b"\r\n"))
            return NotImplementedByService(UNKNOWN_METHOD) if well_formed else BadRequest(NO_HTTP)
        if "Transfer-Encoding" in str(error) and "Content-Length" not in str(error):
            codings = [value for name, value in self._headers if name == b"transfer-encoding"]
            try:
                _check_coding(b",".join(codings), None, "1.1")
            except Problem as problem:
                return problem
        return BadRequest(NO_HTTP)

    def _request(self, method: bytes, version: str) -> RequestHead:
        if method == b"CONNECT":
            raise NotImplementedByService("The service is no proxy.")
        url = self._url
        raw_path, query = _split_target(url)
        path = raw_path.decode("ascii")
        request = RequestHead(
            method.decode("ascii"),
            unquote(path) if "%" in path else path,
            raw_path,
            query,
            version,
            self._headers,
            self._keep_alive and version == "1.1",
        )
        self._read_framing(request)
        if not url.startswith((b"/", b"*")):
            _take_authority(request, url)
        return request

    def _read_framing(self, request: RequestHead) -> None:
        """Read the fields that the connection depends on (RFC 9112, sections 3.2 and 6)."""
        host = length = coding = None
        upgrade = b""
        for name, value in self._framing:
            if name == b"host":
                if host is not None:
                    raise BadRequest("The request has more than one Host header.")
                host = value
            elif name == b"content-length":
                length = _content_length(value, length)
            elif name == b"transfer-encoding":
                coding = value if coding is None else b"%b,%b" % (coding, value)
            elif name == b"expect":
                # HTTP/1.0 clients do not wait (RFC 9110, section 10.1.1).
                continues = value.lower() == b"100-continue"
                request.expects_continue = continues and request.version == "1.1"
            elif name == b"upgrade":
                upgrade = value
        _check_host(host, request.version)
        if coding is not None:
            _check_coding(coding, length, request.version)
            request.content_length = None
        elif length is not None:
            request.content_length = length
        if upgrade:
            request.websocket = _is_websocket(request, upgrade)


def _version(line: bytes) -> str:
    """Return the version that a request line names; llhttp is more generous with the rest of it."""
    if line.count(b" ") == 2:
        if line.endswith(b" HTTP/1.1"):
            return "1.1"
        if line.endswith(b" HTTP/1.0"):
            return "1.0"
    raise HttpVersionNotSupported() if _request_line(line) else BadRequest(NO_HTTP)


def _split_target(url: bytes) -> tuple[bytes, bytes]:
    """Return path and query of a request target."""
    if url == b"*":
        return url, b""
    try:
        parsed = httptools.parse_url(url)
    except httptools.HttpParserInvalidURLError:
        raise BadRequest("The target of the request is not valid.") from None
    return parsed.path or b"/", parsed.query or b""


def _check_host(host: bytes | None, version: str) -> None:
    """Refuse a request whose host is unknown (RFC 9112, section 3.2)."""
    if host is None:
        if version == "1.1":
            raise BadRequest("The request has no Host header.")
    elif not _is_valid_host(host):
        raise BadRequest("The Host header is not valid.")


@lru_cache(maxsize=1024)
def _is_valid_host(host: bytes) -> bool:
    return _is_host(host) is not None


def _content_length(value: bytes, before: int | None) -> int:
    if before is not None or not value.isdigit() or len(value) > 19:
        raise BadRequest("The Content-Length header is not valid.")
    return int(value)


def _check_coding(coding: bytes, length: int | None, version: str) -> None:
    """Refuse content whose end is ambiguous or unknown (RFC 9112, section 6.1)."""
    if length is not None:
        raise BadRequest("The request has both Content-Length and Transfer-Encoding.")
    if version == "1.0":
        raise BadRequest("A request of HTTP/1.0 cannot have a Transfer-Encoding.")
    codings = [each.strip().lower() for each in coding.split(b",")]
    if codings.count(b"chunked") > 1 or b"" in codings:
        raise BadRequest("The Transfer-Encoding header is not valid.")
    if codings != [b"chunked"]:
        raise NotImplementedByService(CODING)


def _is_websocket(request: RequestHead, upgrade: bytes) -> bool:
    """Whether to switch to WebSocket; any other `Upgrade` is ignored (RFC 9110, section 7.8)."""
    connection = b",".join(value for name, value in request.headers if name == b"connection")
    return (
        upgrade.strip().lower() == b"websocket"
        and b"upgrade" in [token.strip() for token in connection.lower().split(b",")]
        and request.method == "GET"
        and request.version == "1.1"
        and request.content_length == 0
    )


def _take_authority(request: RequestHead, url: bytes) -> None:
    """The host of a target in absolute form counts, not `Host` (RFC 9112, section 3.2.2)."""
    found = _authority(url)
    if found is None or not _is_host(found[1]):
        raise BadRequest("The target of the request is not valid.")
    others = [pair for pair in request.headers if pair[0] != b"host"]
    request.headers = [(b"host", found[1]), *others]


def is_token_start(byte: int) -> bool:
    """Return whether a method can begin with this byte."""
    return byte in _FIRST_BYTES


def read_leniently(head: bytes) -> tuple[str, str, HeaderPairs]:
    """Read what can be read of a head that is refused, for its answer and the access log.

    Returns:
        Method and path, empty where there are none, and the header fields that are complete.
    """
    lines = head.split(b"\r\n")[:101]
    words = lines[0].split(b" ")
    method = path = ""
    if len(words) > 1 and re.fullmatch(_TOKEN, words[0]):
        method = words[0][:32].decode("ascii")
        path = words[1].split(b"?")[0][:256].decode("latin-1")
    headers = []
    for line, next_line in pairwise(lines[1:]):
        name, colon, value = line.partition(b":")
        folded = next_line[:1] in {b" ", b"\t"}
        if colon and not folded and re.fullmatch(_TOKEN, name):
            headers.append((name.lower(), value.strip(b" \t")))
    return method, path, headers
