"""Sends a response in one piece, made of headers that are encoded and checked once.

uvicorn encodes every header of every response anew and looks at its name and its value by regular
expressions; the platform sends sixteen of them, of which most are the same each time.
"""

from typing import Final

from uvicorn._types import ASGISendEvent, HTTPResponseBodyEvent, HTTPResponseStartEvent
from uvicorn.protocols.http.httptools_impl import (
    HEADER_RE,
    HEADER_VALUE_RE,
    STATUS_LINE,
    RequestResponseCycle,
)

MAX_LINES: Final = 512
"""Encoded headers kept. Most are the same in every response; the others push them out now and then,
which costs less than telling them apart."""

_WITHOUT_CONTENT: Final = frozenset({204, 304})

_lines: dict[tuple[bytes, bytes], bytes] = {}


class ResponseCycle(RequestResponseCycle):
    """uvicorn's request and response, with a sender of its own.

    The head of a response of known length waits for the first of its content, as ASGI has it
    (HTTP and WebSocket specification, "Response Start"). One of unknown length is a stream whose
    reader may want to know at once that it began; it leaves as uvicorn sends it.
    """

    _head = b""
    _says_close = False

    async def send(self, message: ASGISendEvent) -> None:
        """Send a part of the response.

        Raises:
            RuntimeError: the parts come in the wrong order, a header is not one (CWE-113), or
                the content is not as long as it was said to be.
        """
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        if self.response_complete:
            raise RuntimeError(f"{message['type']!r} was sent after the end of the response.")
        if not self.response_started:
            if message["type"] != "http.response.start":
                raise RuntimeError(f"A response cannot begin with {message['type']!r}.")
            self._begin(message)
        else:
            if message["type"] != "http.response.body":
                raise RuntimeError(f"{message['type']!r} cannot follow the start of a response.")
            self._continue(message)

    def _begin(self, message: HTTPResponseStartEvent) -> None:
        self.response_started = True
        if self.waiting_for_100_continue:
            # Content that was never asked for may still come, or not (RFC 9110, section 10.1.1).
            self.waiting_for_100_continue = False
            self.keep_alive = not self.more_body and self.keep_alive
        status = message["status"]
        lines = [STATUS_LINE[status]]
        for name, value in (*self.default_headers, *message.get("headers", ())):
            lines.append(_lines.get((name, value)) or self._line(name, value))
        if not self.keep_alive and not self._says_close:
            lines.append(b"connection: close\r\n")
        has_content = status not in _WITHOUT_CONTENT and self.scope["method"] != "HEAD"
        if self.chunked_encoding is None and has_content:
            self.chunked_encoding = True
            lines.append(b"transfer-encoding: chunked\r\n")
        lines.append(b"\r\n")
        head = b"".join(lines)
        if self.chunked_encoding:
            self.transport.write(head)
        else:
            self._head = head

    def _line(self, name: bytes, value: bytes) -> bytes:
        """Encode and check a header, and note what it says of the response's length and end.

        Raises:
            RuntimeError: its name or value has characters that they cannot have.
        """
        if not name or HEADER_RE.search(name) or HEADER_VALUE_RE.search(value):
            raise RuntimeError("A header has characters in it that headers cannot have.")
        meaning = name.lower()
        line = b"%b: %b\r\n" % (meaning, value)
        if meaning == b"content-length":
            if self.chunked_encoding is None:
                self.expected_content_length = int(value)
                self.chunked_encoding = False
        elif meaning == b"transfer-encoding":
            if value.lower() == b"chunked":
                self.expected_content_length = 0
                self.chunked_encoding = True
        elif meaning == b"connection":
            if b"close" in [token.strip() for token in value.lower().split(b",")]:
                self.keep_alive = False
                self._says_close = True
        else:
            if len(_lines) >= MAX_LINES:
                _lines.clear()
            _lines[name, value] = line
        return line

    def _continue(self, message: HTTPResponseBodyEvent) -> None:
        content = message.get("body", b"")
        ends = not message.get("more_body", False)
        if self.scope["method"] == "HEAD":
            self.expected_content_length = 0
            content = b""
        elif self.chunked_encoding:
            content = b"%x\r\n%b\r\n" % (len(content), content) if content else b""
            if ends:
                content += b"0\r\n\r\n"
        else:
            self.expected_content_length -= len(content)
            if self.expected_content_length < 0:
                raise RuntimeError("The content is longer than its Content-Length.")
        if self._head:
            head, self._head = self._head, b""
            content = head + content
        if content:
            self.transport.write(content)
        if ends:
            self._end()

    def _end(self) -> None:
        if self.expected_content_length:
            raise RuntimeError("The content is shorter than its Content-Length.")
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()
