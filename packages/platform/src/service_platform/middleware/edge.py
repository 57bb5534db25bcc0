"""The outermost layer: everything that must hold for every request, in one pass.

One layer instead of eight, because each ASGI layer that wraps `send` costs a function call per
message, and each that looks at headers walks them again. The subjects stay apart in the modules
beside this one; here is only their order.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from inspect import isawaitable
from typing import Any, cast

from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service_platform.context import (
    REQUEST_TIMEOUT_HEADER,
    SCOPE_KEY,
    RequestContext,
    current,
)
from service_platform.errors import GatewayTimeout, InternalError, Problem, ServiceUnavailable
from service_platform.etags import compressed_tag
from service_platform.logging import get_logger
from service_platform.metrics import observe_request, requests_in_flight
from service_platform.middleware import body_limit, security_headers
from service_platform.middleware.access_log import AccessLog
from service_platform.middleware.addresses import refuse_undecodable
from service_platform.middleware.cors import CorsPolicy
from service_platform.middleware.deadlines import Deadlines
from service_platform.middleware.proxies import TrustedProxies
from service_platform.resources import Lifecycle
from service_platform.settings import Environment, PlatformSettings

CLIENT_CLOSED_REQUEST = 499
"""Logged when the client left before its answer (nginx's number; nobody receives it)."""

GZIP_MINIMUM_BYTES = 1024
GZIP_LEVEL = 5
UNMATCHED_ROUTE = "unmatched"

ExceptionHandlers = Mapping[Any, Callable[[Request, Any], Response | Awaitable[Response]]]

_REQUEST_TIMEOUT = REQUEST_TIMEOUT_HEADER.encode("ascii")

log = get_logger("service_platform.errors")


class EdgeMiddleware:
    """The layer every request passes, whatever becomes of it.

    It makes the request context and adds request id, security and CORS headers, compresses, keeps
    the limits of body and time, counts and logs, and answers what nobody handled.

    Args:
        app: the application inside.
        settings: limits, CORS origins and trusted proxies.
        lifecycle: tells when the process drains.
        handlers: exception handlers by class (or by status, for `HTTPException`).
    """

    def __init__(
        self,
        app: ASGIApp,
        settings: PlatformSettings,
        lifecycle: Lifecycle,
        handlers: ExceptionHandlers,
    ) -> None:
        self._app = app
        self._compressing_app = GZipMiddleware(
            app, minimum_size=GZIP_MINIMUM_BYTES, compresslevel=GZIP_LEVEL
        )
        self._settings = settings
        self._handlers = handlers
        self._lifecycle = lifecycle
        self._proxies = TrustedProxies(settings.trusted_networks)
        self._cors = CorsPolicy(
            settings.cors_origins,
            allow_credentials=settings.cors_allow_credentials,
            allow_local=settings.environment in {Environment.DEVELOPMENT, Environment.TEST},
        )
        self._deadlines = Deadlines(settings.request_timeout_seconds)
        self._access_log = AccessLog(settings)
        self._loop: asyncio.AbstractEventLoop | None = None
        requests_in_flight.set_function(lambda: len(self._deadlines))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        headers = dict(scope["headers"])
        client_address, scheme = self._proxies.resolve(scope, headers)
        task = self._current_task()
        asked_timeout = headers.get(_REQUEST_TIMEOUT)
        context = RequestContext(
            scope,
            headers,
            client_address=client_address,
            scheme=scheme,
            started=started,
            deadline=self._deadlines.of(task.get_loop().time(), asked_timeout),
        )
        scope[SCOPE_KEY] = context
        reset = current.set(context)
        self._deadlines.enter(task, context, hurried=asked_timeout is not None)
        sender = self._sender(context, send)
        try:
            await self._answer(context, receive, sender)
        except ClientDisconnect:
            context.disconnected = True
        except asyncio.CancelledError:
            if not context.timed_out:
                if not self._lifecycle.draining:
                    context.disconnected = True
                    raise
                # The process has no more time for this request; another one may.
                await self._fail(context, ServiceUnavailable(), receive, sender)
                raise
            task.uncancel()
            await self._fail(context, GatewayTimeout(), receive, sender)
        except Exception as error:
            if context.status:
                # The answer has begun and cannot be taken back: the server cuts the connection.
                log.exception("unhandled_error", route=context.route)
                raise
            response = await self._respond_to(error, context, receive)
            await response(scope, receive, sender)
        finally:
            self._deadlines.leave(task)
            self._record(context)
            current.reset(reset)

    def _current_task(self) -> "asyncio.Task[object]":
        """The task of this request; asking for the running loop is a system call on Python 3.11."""
        task = asyncio.current_task(self._loop) if self._loop is not None else None
        if task is None:
            self._loop = asyncio.get_running_loop()
            task = cast("asyncio.Task[object]", asyncio.current_task(self._loop))
        return task

    async def _answer(self, context: RequestContext, receive: Receive, send: Send) -> None:
        """Answer here what needs no route, else call the application inside."""
        scope, headers = context.scope, context.headers
        origin = headers.get(b"origin")
        if origin is not None:
            if scope["method"] == "OPTIONS" and b"access-control-request-method" in headers:
                await _preflight(self._cors, origin, send)
                return
            context.response_headers += self._cors.headers(origin)
        unreadable = refuse_undecodable(scope)
        if unreadable is not None:
            await self._fail(context, unreadable, receive, send)
            return
        if b"content-length" in headers or b"transfer-encoding" in headers:
            problem = body_limit.refuse_declared(headers, self._settings.max_body_bytes)
            if problem is not None:
                if b"expect" not in headers:  # who asks first sends nothing after a refusal
                    await body_limit.discard(receive)
                await self._fail(context, problem, receive, send)
                return
            receive = body_limit.bounded(receive, context, self._settings.max_body_bytes)
        if scope["method"] == "HEAD":
            scope, send = {**scope, "method": "GET"}, _without_body(send)
        accepted = headers.get(b"accept-encoding")
        if accepted is not None and b"gzip" in accepted:
            await self._compressing_app(scope, receive, _tagging_compressed(send))
        else:
            await self._app(scope, receive, send)

    async def _respond_to(
        self, error: Exception, context: RequestContext, receive: Receive
    ) -> Response:
        """What the registered handler makes of the exception, else the 500 that hides it."""
        handler = (
            self._handlers.get(error.status_code) if isinstance(error, HTTPException) else None
        )
        try:
            for cls in type(error).__mro__ if handler is None else ():
                handler = self._handlers.get(cls)
                if handler is not None:
                    break
            if handler is not None:
                answer = handler(Request(context.scope, receive), error)
                return await answer if isawaitable(answer) else answer
        except Exception as unexpected:  # noqa: BLE001 - a handler that gives up raises again
            error = unexpected
        log.error("unhandled_error", route=context.route, exc_info=error)
        return self._problem_response(context, InternalError())

    def _problem_response(self, context: RequestContext, problem: Problem) -> Response:
        return problem.response(
            base_url=self._settings.problem_type_base_url, request_id=context.request_id
        )

    def _sender(self, context: RequestContext, send: Send) -> Send:
        """`send`, adding the headers that every response has."""
        common = (
            security_headers.BEHIND_TLS if context.scheme == "https" else security_headers.PLAIN
        )

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                context.status = message["status"]
                headers = [*message.get("headers", ()), *common, *context.response_headers]
                for name, _ in headers:
                    if name == b"content-security-policy":
                        break
                else:
                    headers.append(security_headers.CONTENT_SECURITY_POLICY)
                elapsed = (time.perf_counter() - context.started) * 1000
                headers.append((b"x-request-id", context.request_id.encode("ascii")))
                headers.append((b"x-response-time", b"%.2fms" % elapsed))
                if self._lifecycle.draining:
                    headers.append((b"connection", b"close"))
                message["headers"] = headers
            await send(message)

        return send_with_headers

    async def _fail(
        self, context: RequestContext, problem: Problem, receive: Receive, send: Send
    ) -> None:
        """Answer with a problem; nothing can be said any more where a response has begun."""
        if context.status:
            return
        await self._problem_response(context, problem)(context.scope, receive, send)

    def _record(self, context: RequestContext) -> None:
        seconds = time.perf_counter() - context.started
        status = CLIENT_CLOSED_REQUEST if context.disconnected else context.status
        route = context.route or UNMATCHED_ROUTE
        observe_request(context.scope["method"], route, status, seconds)
        self._access_log.write(context, status, seconds)


async def _preflight(cors: CorsPolicy, origin: bytes, send: Send) -> None:
    status, headers = cors.preflight(origin)
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def _without_body(send: Send) -> Send:
    """`send` for a HEAD request: the headers of GET and no content (RFC 9110, section 9.3.2)."""

    async def send_headers_only(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await send(message)

    return send_headers_only


def _tagging_compressed(send: Send) -> Send:
    """`send` that gives compressed content an entity tag of its own (RFC 9110, section 8.8.3)."""

    async def send_tagged(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = message["headers"]
            if (b"content-encoding", b"gzip") in headers:
                message["headers"] = [
                    (name, compressed_tag(value) if name == b"etag" else value)
                    for name, value in headers
                ]
        await send(message)

    return send_tagged
