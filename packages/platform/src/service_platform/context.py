"""Holds what is known about one request or WebSocket, from its first byte on.

It is `scope["service_platform"]` for ASGI code and `current_context()` for anything else; the
logging pipeline and the HTTP client take request id and trace from it.
"""

import asyncio
import math
import re
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from starlette.types import Scope
from uuid_utils import uuid7

if TYPE_CHECKING:
    import anyio

    from service_platform.errors import Problem
    from service_platform.identity.principal import Principal
    from service_platform.settings import PlatformSettings

SCOPE_KEY: Final = "service_platform"
REQUEST_TIMEOUT_HEADER: Final = "x-request-timeout"
"""Seconds that a calling service still has for its own request."""

_valid_request_id = re.compile(rb"[A-Za-z0-9._-]{1,64}").fullmatch
_valid_traceparent = re.compile(rb"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})").fullmatch
_ZERO_TRACE: Final = "0" * 32
_ZERO_SPAN: Final = "0" * 16


class RequestContext:
    """What is known about the request (or WebSocket) in flight.

    Attributes:
        scope: the ASGI scope.
        task: the asyncio task that serves it, `None` on another event loop.
        cancel_scope: keeps the time limit on another event loop than asyncio's.
        settings: of the service that received it.
        path: the path as the server received it, without a prefix that a proxy took off.
        headers: every header by lower-case name; of a repeated one, the last.
        request_id: the caller's `X-Request-ID` where it is acceptable, else a new UUIDv7.
        trace_id: W3C trace id, continued from `traceparent` or new (32 hexadecimal digits).
        span_id: W3C id of the span that work for this request belongs to: the server span where
            one is recorded, else the caller's, else a new one (16 hexadecimal digits).
        trace_flags: W3C trace flags (two hexadecimal digits).
        tracestate: the caller's, passed on as it is.
        is_recorded: whether spans of this request are recorded; `None` where `telemetry` did not
            decide, because it exports nothing or the service has a tracer provider of its own.
        sampling: the sampler's result until the server span has been started with it.
        client_address: address of the client, behind trusted proxies the forwarded one.
        started: `time.perf_counter()` at the first byte of the request.
        deadline: event loop time at which the handler is cancelled.
        admitted: whether authentication and rate limits were decided for this request.
        allowed_methods: methods of the path, where it does not have the one of the request.
        answers_problems: whether HTTP errors are problems; a service may answer them otherwise.
        route: path template of the matched route, `None` until routing is done.
        principal: who calls, once a bearer token was verified.
        authentication_error: why the presented token was refused.
        message_limit: whether a WebSocket may send one more message under the rate limits of its
            route; `None` where the route has none.
        raised: by a compiled endpoint, for the exception handlers; see `acceleration.dispatch`.
        response_headers: header pairs that later layers add to the response.
        status: status code, once the response has started.
        timed_out: the handler was cancelled at its deadline.
        disconnected: the client left before the response was complete.
        refused_status: status of the server's own answer, where the body was at fault.
        recorded: the request was counted and logged.
        stream_ended: the process drains and has ended this event stream.
    """

    __slots__ = (
        "admitted",
        "allowed_methods",
        "answers_problems",
        "authentication_error",
        "cancel_scope",
        "client_address",
        "deadline",
        "disconnected",
        "headers",
        "is_recorded",
        "message_limit",
        "path",
        "principal",
        "raised",
        "recorded",
        "refused_status",
        "request_id",
        "response_headers",
        "route",
        "sampling",
        "scope",
        "settings",
        "span_id",
        "started",
        "status",
        "stream_ended",
        "task",
        "timed_out",
        "trace_flags",
        "trace_id",
        "tracestate",
    )

    def __init__(
        self,
        scope: Scope,
        headers: dict[bytes, bytes],
        *,
        settings: "PlatformSettings",
        task: asyncio.Task[object] | None = None,
        client_address: str = "",
        started: float = 0.0,
        deadline: float = math.inf,
    ) -> None:
        self.scope = scope
        self.settings = settings
        self.task = task
        self.cancel_scope: anyio.CancelScope | None = None
        self.path: str = scope.get("path", "")
        self.headers = headers
        self.client_address = client_address
        self.started = started
        self.deadline = deadline
        self.admitted = False
        self.allowed_methods: list[str] = []
        self.answers_problems = True
        self.route: str | None = None
        self.principal: Principal | None = None
        self.authentication_error: Problem | None = None
        self.message_limit: Callable[[RequestContext], Awaitable[bool]] | None = None
        self.raised: Exception | None = None
        self.response_headers: list[tuple[bytes, bytes]] = []
        self.status = 0
        self.timed_out = False
        self.disconnected = False
        self.recorded = False
        self.refused_status = 0
        self.stream_ended = False
        self.is_recorded: bool | None = None
        self.sampling: Any = None
        self.tracestate = ""
        fresh = str(uuid7())
        offered = headers.get(b"x-request-id")
        if offered is not None and _valid_request_id(offered):
            self.request_id = offered.decode("ascii")
        else:
            self.request_id = fresh
        self.trace_id = fresh.replace("-", "")
        self.span_id, self.trace_flags = self.trace_id[16:], "00"
        traceparent = headers.get(b"traceparent")
        if traceparent is not None:
            self._continue_trace(traceparent)

    @property
    def scheme(self) -> str:
        """`http` or `https` (`ws`, `wss`), behind trusted proxies the forwarded one."""
        scheme: str = self.scope.get("scheme", "http")
        return scheme

    @property
    def traceparent(self) -> str:
        """Value of the header to pass on (W3C Trace Context, section 3.2)."""
        return f"00-{self.trace_id}-{self.span_id}-{self.trace_flags}"

    def _continue_trace(self, traceparent: bytes) -> None:
        """Take the caller's trace; an invalid header is ignored, as the specification wants."""
        match = _valid_traceparent(traceparent)
        if match is None:
            return
        trace_id, span_id, flags = (part.decode("ascii") for part in match.groups())
        if trace_id != _ZERO_TRACE and span_id != _ZERO_SPAN:
            self.trace_id, self.span_id, self.trace_flags = trace_id, span_id, flags
            self.tracestate = self.headers.get(b"tracestate", b"").decode("latin-1")


current: ContextVar[RequestContext | None] = ContextVar("request_context", default=None)


def current_context() -> RequestContext | None:
    """Return the context of the request this code runs for, or `None` outside of one."""
    return current.get()
