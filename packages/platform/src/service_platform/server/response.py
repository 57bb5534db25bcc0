"""The response of one request: uvicorn's cycle, and what HTTP/1.0 needs beside it."""

import sys
from collections.abc import Callable

from uvicorn._types import ASGISendEvent
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from service_platform.settings import PlatformSettings

CycleClass = type[RequestResponseCycle]


class ClosingUnasked(RequestResponseCycle):
    """uvicorn's cycle, closing the connection where content was announced and never asked for.

    A client that waits for `100 Continue` and gets a final response may send its content or the
    next request; nobody can tell which (RFC 9110, section 10.1.1).
    """

    async def send(self, message: ASGISendEvent) -> None:
        """Send a part of the response."""
        if self.waiting_for_100_continue and self.more_body:
            self.keep_alive = False
        await super().send(message)


class CloseDelimited(RequestResponseCycle):
    """Ends content of unknown length by closing, for HTTP/1.0 (RFC 9112, section 6.3).

    uvicorn would send it in chunks, which HTTP/1.0 does not have.
    """

    _close_delimited = False

    async def send(self, message: ASGISendEvent) -> None:
        """Send a part of the response."""
        if message["type"] == "http.response.start":
            headers = message.get("headers", ())
            if not any(name.lower() == b"content-length" for name, _ in headers):
                self._close_delimited = True
                self.chunked_encoding = False
        elif self._close_delimited and message["type"] == "http.response.body":
            # uvicorn compares the content with its declared length: with what is there.
            last = not message.get("more_body", False)
            self.expected_content_length = len(message.get("body", b"")) if last else sys.maxsize
        await super().send(message)


def cycle_classes(settings: PlatformSettings) -> dict[str, Callable[..., RequestResponseCycle]]:
    """Return the class for responses by HTTP version, accelerated where that is switched on."""
    base: CycleClass = ClosingUnasked
    if settings.acceleration:
        from service_platform.acceleration.responses import (  # noqa: PLC0415 - not needed if off
            ResponseCycle,
        )

        base = ResponseCycle
    return {"1.1": base, "1.0": type("CloseDelimited", (CloseDelimited, base), {})}
