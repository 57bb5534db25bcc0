"""Reads the content of a request: of known length, or chunked (RFC 9112, sections 6 and 7)."""

import re
from typing import Final, Protocol

from service_platform.errors import BadRequest, HeadersTooLarge, PayloadTooLarge
from service_platform.server.states import Limits, State

_chunk_header: Final = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[\t -~\x80-\xff]*)?").fullmatch
_trailer: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t -~\x80-\xff]*").fullmatch
CHUNK_ALLOWANCE: Final = 16
"""Framing that belongs to every chunk: its size and two line ends. It is not counted."""
INVALID_CHUNKS: Final = "The chunks of the request are not valid."
INVALID_TRAILER: Final = "A trailer field of the request is not valid."


class Content(Protocol):
    """Content that is on its way.

    Attributes:
        complete: whether all of it was taken.
        state: what of it comes next.
    """

    complete: bool
    state: State

    def take(self, buffer: bytearray) -> bytes:
        """Remove what belongs to the content from the front of `buffer` and return the content.

        Raises:
            Problem: it is malformed, or has more framing than allowed.
        """
        ...


class FixedContent:
    """Content whose length the head says."""

    __slots__ = ("_remaining", "complete", "state")

    def __init__(self, length: int) -> None:
        self._remaining = length
        self.complete = not length
        self.state = State.BODY

    def take(self, buffer: bytearray) -> bytes:
        """See `Content`."""
        part = bytes(buffer[: self._remaining])
        del buffer[: len(part)]
        self._remaining -= len(part)
        self.complete = not self._remaining
        return part


class ChunkedContent:
    """Content in chunks. Chunk extensions and trailer fields are bounded and thrown away.

    Trailer fields never become header fields: a recipient may merge only what it knows to be safe
    (RFC 9110, section 6.5.1), and nothing in a service reads them.
    """

    __slots__ = ("_framing", "_limits", "_remaining", "_trailers", "complete", "state")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._remaining = 0
        self._framing = 0
        self._trailers = 0
        self.complete = False
        self.state = State.CHUNK_HEADER

    def take(self, buffer: bytearray) -> bytes:
        """See `Content`."""
        parts: list[bytes] = []
        while not self.complete:
            if self.state is State.BODY:
                if not self._take_chunk(buffer, parts):
                    break
            elif not self._take_line(buffer):
                break
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _take_chunk(self, buffer: bytearray, parts: list[bytes]) -> bool:
        """Take content of a chunk; returns whether its end was reached."""
        if self._remaining:
            part = bytes(buffer[: self._remaining])
            if part:
                parts.append(part)
                del buffer[: len(part)]
                self._remaining -= len(part)
        if self._remaining or len(buffer) < 2:
            return False
        if buffer[:2] != b"\r\n":
            raise BadRequest("A chunk of the request is longer than its size.")
        del buffer[:2]
        self.state = State.CHUNK_HEADER
        return True

    def _take_line(self, buffer: bytearray) -> bool:
        """Take a chunk header or a trailer field; returns whether one was complete."""
        end = buffer.find(b"\r\n")
        line = bytes(buffer[:end]) if end >= 0 else bytes(buffer).removesuffix(b"\r")
        self._check_line(line)
        if end < 0:
            return False
        del buffer[: end + 2]
        if self.state is State.CHUNK_HEADER:
            self._begin_chunk(line)
        elif line:
            if not _trailer(line):
                raise BadRequest(INVALID_TRAILER)
            self._trailers += len(line) + 2
        else:
            self.complete = True
        return True

    def _check_line(self, line: bytes) -> None:
        """Refuse what is no line or too long, complete or not.

        The first byte that is wrong decides, so that it does not matter how the line arrives.
        """
        if self.state is State.CHUNK_HEADER:
            allowed = self._limits.chunk_framing_bytes + CHUNK_ALLOWANCE - self._framing
        else:
            allowed = self._limits.trailer_bytes - self._trailers
        within = line[: max(0, allowed)]
        if b"\n" in within or b"\r" in within:
            is_header = self.state is State.CHUNK_HEADER
            raise BadRequest(INVALID_CHUNKS if is_header else INVALID_TRAILER)
        if len(line) > allowed:
            if self.state is State.CHUNK_HEADER:
                raise PayloadTooLarge("The chunk extensions of the request are too large.")
            raise HeadersTooLarge("The trailer fields of the request are too large.")

    def _begin_chunk(self, line: bytes) -> None:
        header = _chunk_header(line)
        if header is None:
            raise BadRequest(INVALID_CHUNKS)
        self._framing += max(0, len(line) - CHUNK_ALLOWANCE)
        self._remaining = int(header[1], 16)
        self.state = State.BODY if self._remaining else State.TRAILERS
