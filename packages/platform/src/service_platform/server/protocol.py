"""HTTP/1.1 connections with bounds that uvicorn's own protocol does not have.

A client may send 64 KiB before its request is complete, body aside, and has ten seconds for it;
otherwise one connection could hold memory, or a file descriptor, for ever (slow loris).
"""

import asyncio
from typing import Any, Final

from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from service_platform.server.response import ResponseCycle

MAX_HEAD_BYTES: Final = 65_536
HEAD_TIMEOUT_SECONDS: Final = 10.0

_TOO_LARGE: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-type: application/problem+json\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
)
_TOO_SLOW: Final = (
    b"HTTP/1.1 408 Request Timeout\r\n"
    b"content-type: application/problem+json\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
)


class BoundedHttpProtocol(HttpToolsProtocol):
    """uvicorn's httptools protocol with limits on size and time of a request's head."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_head = True
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin the time for the first head."""
        super().connection_made(transport)
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        """Parse as ever, then count what belongs to an unfinished head."""
        super().data_received(data)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(_TOO_LARGE)
            else:
                self._expect_head()

    def on_message_begin(self) -> None:
        """A further request begins on the same connection."""
        if not self._in_head:
            self._in_head = True
            self._head_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The head is complete; its time and size no longer matter."""
        self._in_head = False
        self._head_bytes = 0
        self._forget_timer()
        super().on_headers_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        # uvicorn names the class in the middle of a long method; a cycle has not sent anything
        # yet, so it can still become one of ours.
        cycle.__class__ = ResponseCycle
        super()._start_asgi_task(cycle, app)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._forget_timer()
        super().connection_lost(exc)

    def _expect_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_TIMEOUT_SECONDS, self._too_slow)

    def _too_slow(self) -> None:
        if self._head_bytes:
            self._refuse(_TOO_SLOW)
        else:
            # Nothing was asked on this connection, so there is nothing to answer.
            self.transport.close()

    def _forget_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse(self, answer: bytes) -> None:
        self._forget_timer()
        if not self.transport.is_closing():
            self.transport.write(answer)
            self.transport.close()
