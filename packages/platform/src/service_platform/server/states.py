"""The states of an HTTP connection, and what bounds each of them in bytes and in time.

`docs/http.md` has the same as a table; a test compares the two and leads a connection into every
state.
"""

import enum
from dataclasses import dataclass
from typing import Final, Self

from service_platform.settings import PlatformSettings

KIB: Final = 1024
MIB: Final = 1024 * KIB


class State(enum.Enum):
    """What a connection waits for."""

    IDLE = "idle"
    HEAD = "head"
    BODY = "body"
    CHUNK_HEADER = "chunk header"
    TRAILERS = "trailers"
    WAITING = "waiting"
    WRITING = "writing"
    DRAINING = "draining"
    UPGRADED = "upgraded"


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of a connection; sizes are bytes, times are seconds.

    Attributes:
        request_line_bytes: method, target and version (414).
        head_bytes: request line and header fields together (431).
        trailer_bytes: trailer fields (431).
        chunk_framing_bytes: chunk extensions and what else is no content in a chunked body (413).
        pipelined_bytes: requests behind the one being answered; the rest is not read yet.
        discarded_bytes: content that is read though nobody wants it any more.
        unread_answer_bytes: answers of all connections that their clients have not read.
        keep_alive: until the first byte of another request.
        head: from the first byte of a request to the end of its head; also until the first byte
            of the first request.
        progress: the span in which a body must arrive, and an answer must be read, at
            `bytes_per_second` or faster.
        bytes_per_second: the least speed of both.
        linger: for the client to read the last answer and close, while it may still send.
        websocket_handshake: until the application accepts or refuses a WebSocket.
        websocket_close: until the client confirms the close of a WebSocket.
    """

    request_line_bytes: int = 16 * KIB
    head_bytes: int = 64 * KIB
    trailer_bytes: int = 16 * KIB
    chunk_framing_bytes: int = 16 * KIB
    pipelined_bytes: int = 64 * KIB
    discarded_bytes: int = 16 * MIB
    unread_answer_bytes: int = 64 * MIB
    keep_alive: float = 75.0
    head: float = 10.0
    progress: float = 10.0
    bytes_per_second: int = 240
    linger: float = 2.0
    websocket_handshake: float = 30.0
    websocket_close: float = 5.0

    @property
    def progress_bytes(self) -> float:
        """The least that must move within `progress`."""
        return self.progress * self.bytes_per_second

    @classmethod
    def of(cls, settings: PlatformSettings) -> Self:
        """Make the limits of a service from its settings."""
        return cls(
            keep_alive=settings.keep_alive_seconds,
            head=settings.request_head_timeout_seconds,
            progress=settings.transfer_timeout_seconds,
            websocket_handshake=settings.request_timeout_seconds,
        )
