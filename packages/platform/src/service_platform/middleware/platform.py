"""The platform's middleware around a whole application, FastAPI's own middleware included.

It is one pure ASGI layer, because each layer that wraps `send` costs a function call a message. The
subjects are in the modules beside this one; here is only their order. WebSockets are in
`websockets.py`; authentication, rate limits and the time limit of a route in `admission.py`.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

import anyio
from opentelemetry.trace import TraceFlags
from starlette.exceptions import HTTPException
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from service_platform.context import REQUEST_TIMEOUT_HEADER, SCOPE_KEY, RequestContext, current
from service_platform.errors import GatewayTimeout, Problem, ServiceUnavailable
from service_platform.errors.handlers import PROBLEM_HANDLERS, handle_http_exception
from service_platform.logging import get_logger
from service_platform.metrics import (
    METRICS_PATH,
    UNMATCHED_ROUTE,
    observe_request,
    requests_in_flight,
)
from service_platform.middleware import cors
from service_platform.middleware.access_log import AccessLog
from service_platform.middleware.content_encoding import Compressor, accepts_gzip
from service_platform.middleware.deadlines import Deadlines
from service_platform.middleware.proxies import TrustedProxies
from service_platform.middleware.request_body import RequestBody
from service_platform.middleware.response_headers import ContentSecurityPolicies
from service_platform.middleware.response_sender import ResponseSender, problem_response
from service_platform.middleware.url_encoding import refuse_undecodable_url
from service_platform.middleware.websockets import WebSocketLayer
from service_platform.resources import Lifecycle
from service_platform.settings import Environment, PlatformSettings

if TYPE_CHECKING:
    from service_platform.telemetry.export import TelemetryExport

CLIENT_CLOSED_REQUEST: Final = 499
"""Logged when the client left before its answer (nginx's number; nobody receives it)."""


_REQUEST_TIMEOUT: Final = REQUEST_TIMEOUT_HEADER.encode("ascii")

log = get_logger("service_platform.errors")


class PlatformMiddleware:
    """Adds what the platform does for every request and WebSocket around an ASGI application.

    It makes the request context, adds request id, security and CORS headers, compresses, keeps the
    time limit, and counts and logs. An exception passes through it unchanged.

    Args:
        app: the application inside, FastAPI's middleware stack included.
        settings: time limit, CORS origins and trusted proxies.
        lifecycle: tells when the process drains.
        deadlines: of the requests in flight; `admission.py` changes them by route.
        content_security_policies: policies by path prefix, see `ContentSecurityPolicies`.
        has_own_cors: whether the application has CORS rules of its own, which then count alone.
        exception_handlers: of the application, by class or status; looked at for each request.
        telemetry: decides which requests are recorded; `None` where nothing is exported.
    """

    def __init__(
        self,
        app: ASGIApp,
        settings: PlatformSettings,
        lifecycle: Lifecycle,
        *,
        deadlines: Deadlines | None = None,
        content_security_policies: ContentSecurityPolicies | None = None,
        has_own_cors: Callable[[], bool] = lambda: False,
        exception_handlers: Mapping[Any, Any] = PROBLEM_HANDLERS,
        telemetry: "TelemetryExport | None" = None,
    ) -> None:
        self._app = app
        # An application, router or route with a `max_body_size` of its own changes the limit.
        self._app_with_body = RequestBodyLimitMiddleware(app, settings.max_body_bytes)
        self._has_own_cors = has_own_cors
        self._exception_handlers = exception_handlers
        self._settings = settings
        self._lifecycle = lifecycle
        self._deadlines = deadlines or Deadlines(settings.request_timeout_seconds)
        self._proxies = TrustedProxies(settings.trusted_networks, root_path=settings.root_path)
        self._cors = cors.CorsPolicy(
            settings.cors_origins,
            allow_credentials=settings.cors_allow_credentials,
            allow_local=settings.environment in {Environment.DEVELOPMENT, Environment.TEST},
        )
        self._access_log = AccessLog(settings)
        self._responses = ResponseSender(
            lifecycle,
            self._deadlines,
            content_security_policies or ContentSecurityPolicies({}),
            self._cors,
            self._record,
        )
        self._websockets = WebSocketLayer(app, settings, self._cors, self._access_log)
        self._telemetry = telemetry
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or WebSocket."""
        kind = scope["type"]
        if kind not in {"http", "websocket"} or SCOPE_KEY in scope:  # mounted in another service
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        headers = dict(scope["headers"])
        client_address = self._proxies.apply(scope, headers)
        task = self._current_task()
        now = anyio.current_time() if task is None else task.get_loop().time()
        asked_timeout = headers.get(_REQUEST_TIMEOUT)
        context = RequestContext(
            scope,
            headers,
            settings=self._settings,
            task=task,
            client_address=client_address,
            started=started,
            deadline=self._deadlines.of(now, asked_timeout),
        )
        answering = self._exception_handlers.get(HTTPException)
        context.answers_problems = answering is handle_http_exception
        scope[SCOPE_KEY] = context
        reset = current.set(context)
        tracing = None if self._telemetry is None else self._telemetry.tracing
        trace_token = None if tracing is None else tracing.begin(context)
        self._deadlines.enter(context, own_limit=asked_timeout is not None)
        try:
            if kind == "http":
                await self._serve_request(context, receive, send)
            else:
                accepted = partial(self._deadlines.end, context)
                await self._websockets.serve(context, receive, send, accepted=accepted)
        finally:
            self._deadlines.leave(context)
            if tracing is not None and trace_token is not None:
                tracing.end(trace_token)
            current.reset(reset)

    def _current_task(self) -> "asyncio.Task[object] | None":
        """Return the task of this request, `None` on another event loop than asyncio's.

        Asking for the running loop is a system call on Python 3.11, so it is asked once.
        """
        task = asyncio.current_task(self._loop) if self._loop is not None else None
        if task is None:
            try:
                self._loop = asyncio.get_running_loop()
            except RuntimeError:
                return None
            task = asyncio.current_task(self._loop)
        return task

    async def _serve_request(self, context: RequestContext, receive: Receive, send: Send) -> None:
        if context.path != METRICS_PATH:  # a scrape does not count itself
            requests_in_flight.begin()
        headers = context.headers
        body = None
        if b"content-length" in headers or b"transfer-encoding" in headers:
            body = RequestBody(receive, context)
            receive = body.receive
        sender = self._responses.wrap(context, body, send)
        try:
            if context.cancel_scope is None:
                await self._answer(context, body, receive, sender)
            else:
                with context.cancel_scope:
                    await self._answer(context, body, receive, sender)
                if context.cancel_scope.cancelled_caught:
                    await self._send_problem(context, GatewayTimeout(), receive, sender)
        except ClientDisconnect:
            context.disconnected = True
        except asyncio.CancelledError:
            if not await self._answer_cancelled(context, receive, sender):
                raise
        except Exception as error:
            log.error("unhandled_error", route=context.route, exc_info=error)
            raise
        finally:
            self._record(context)

    async def _answer(
        self, context: RequestContext, body: RequestBody | None, receive: Receive, send: Send
    ) -> None:
        """Answer here what needs no route, else call the application inside."""
        scope, headers = context.scope, context.headers
        origin = headers.get(b"origin")
        if origin is not None and not self._has_own_cors():
            if scope["method"] == "OPTIONS" and b"access-control-request-method" in headers:
                if self._cors.allows(origin):
                    await cors.send_empty(204, self._cors.preflight(origin), send)
                    return
                send = cors.refusing_preflight(send)
            else:
                context.response_headers += self._cors.headers(origin)
        unreadable = refuse_undecodable_url(scope)
        if unreadable is not None:
            await self._send_problem(context, unreadable, receive, send)
            return
        app = self._app if body is None else self._app_with_body
        accept_encoding = headers.get(b"accept-encoding")
        if accept_encoding is not None and accepts_gzip(accept_encoding):
            app = Compressor(app, partial(self._deadlines.end, context))
        await app(scope, receive, send)

    async def _answer_cancelled(
        self, context: RequestContext, receive: Receive, send: Send
    ) -> bool:
        """Answer a request whose task was cancelled: by its deadline, a drain, or the server.

        Returns:
            Whether the cancellation is dealt with.
        """
        if context.stream_ended or context.timed_out:
            cast("asyncio.Task[object]", context.task).uncancel()
            if context.stream_ended:
                await send({"type": "http.response.body", "body": b""})
            else:
                await self._send_problem(context, GatewayTimeout(), receive, send)
            return True
        if self._lifecycle.draining:
            # The process has no more time for this request; another one may.
            await self._send_problem(context, ServiceUnavailable(), receive, send)
        else:
            context.disconnected = True
        return False

    async def _send_problem(
        self, context: RequestContext, problem: Problem, receive: Receive, send: Send
    ) -> None:
        """Answer with a problem; nothing can be said any more where a response has begun."""
        if not context.status:
            response = problem_response(context, problem)
            await response(context.scope, receive, send)

    def _record(self, context: RequestContext) -> None:
        """Count the request and write its access event, once."""
        if context.recorded:
            return
        context.recorded = True
        if context.path != METRICS_PATH:
            requests_in_flight.end()
        seconds = time.perf_counter() - context.started
        if context.refused_status and not context.status:
            status = context.refused_status
        elif context.disconnected:
            status = CLIENT_CLOSED_REQUEST
        else:
            status = context.status or 500  # the exception goes on to the server
        route = context.route or UNMATCHED_ROUTE
        # What is recorded and not sampled is not exported.
        is_exported = context.is_recorded and int(context.trace_flags, 16) & TraceFlags.SAMPLED
        trace_id = context.trace_id if is_exported else None
        observe_request(context.scope["method"], route, status, seconds, trace_id=trace_id)
        self._access_log.write_request(context, status, seconds)
