"""HTTP/1.1 connections with bounds that uvicorn's own protocol does not have.

A client may send 64 KiB before its request is complete, body aside, and has ten seconds for it;
otherwise one connection could hold memory, or a file descriptor, for ever (slow loris).
"""

import asyncio
from typing import Any, ClassVar, Final, Self, cast

from uuid_utils import uuid7
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from service_platform.errors import BadRequest, HeadersTooLarge, Problem, RequestTimeout
from service_platform.logging import get_logger
from service_platform.middleware import security_headers
from service_platform.server.response import ResponseCycle
from service_platform.settings import PlatformSettings

MAX_HEAD_BYTES: Final = 65_536
HEAD_TIMEOUT_SECONDS: Final = 10.0

log = get_logger("service_platform.server")


class BoundedHttpProtocol(HttpToolsProtocol):
    """uvicorn's httptools protocol with limits on size and time of a request's head.

    Attributes:
        head_timeout: seconds for a head.
        problem_base_url: what the `type` of a problem begins with.
    """

    head_timeout: ClassVar[float] = HEAD_TIMEOUT_SECONDS
    problem_base_url: ClassVar[str] = "/problems"

    @classmethod
    def of(cls, settings: PlatformSettings) -> type[Self]:
        """The class for one service; uvicorn wants a class."""
        attributes = {"problem_base_url": settings.problem_type_base_url}
        return cast("type[Self]", type(cls.__name__, (cls,), attributes))

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
                self._refuse(HeadersTooLarge())
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
            self._head_timer = self.loop.call_later(self.head_timeout, self._too_slow)

    def _too_slow(self) -> None:
        if self._head_bytes:
            self._refuse(RequestTimeout())
        else:
            # Nothing was asked on this connection, so there is nothing to answer.
            self.transport.close()

    def _forget_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP; uvicorn's own answer is a line of text."""
        del msg
        self._refuse(BadRequest("This is not a valid HTTP request."))

    def _refuse(self, problem: Problem) -> None:
        """Answer what never became a request, as a request would be answered, and close."""
        self._forget_timer()
        if self.transport.is_closing():
            return
        request_id = str(uuid7())
        answer = problem.response(base_url=self.problem_base_url, request_id=request_id)
        headers = (
            *answer.raw_headers,
            *security_headers.PLAIN,
            security_headers.CONTENT_SECURITY_POLICY,
            (b"x-request-id", request_id.encode("ascii")),
            (b"x-response-time", b"0.00ms"),
            (b"connection", b"close"),
        )
        lines = [b"%b: %b\r\n" % header for header in headers]
        self.transport.write(b"".join((STATUS_LINE[problem.status], *lines, b"\r\n", answer.body)))
        self.transport.close()
        address = self.client[0] if self.client else ""
        log.info(
            "refused",
            status=problem.status,
            error=problem.code(),
            request_id=request_id,
            **{"client.address": address},
        )
