"""Admits requests: authentication, rate limits and the time limit of a route, before it runs.

This is the innermost middleware, around the application's router: what it raises goes through the
application's exception handlers, and what a middleware of the service changed in the request
counts. All of it is decided before FastAPI reads the body or solves a dependency, so a refused
request costs next to nothing.
"""

import asyncio
from collections.abc import Awaitable, Sequence
from functools import partial
from typing import Final, Protocol, cast

from fastapi import FastAPI
from fastapi.routing import RouteContext
from starlette._utils import get_route_path
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.routing import BaseRoute, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service_platform.context import REQUEST_TIMEOUT_HEADER, SCOPE_KEY, RequestContext
from service_platform.errors import BadRequest, GatewayTimeout, Problem, Unauthorized
from service_platform.identity import Principal
from service_platform.identity.errors import KeysUnavailable
from service_platform.middleware.body_encoding import require_plain_body
from service_platform.middleware.deadlines import Deadlines
from service_platform.middleware.route_info import (
    Endpoint,
    EndpointCompiler,
    RouteInfo,
    read_route_info,
)
from service_platform.middleware.route_table import RouteMatch, RouteTable
from service_platform.ratelimit import Decision, Limiter, Policy, RateLimitCaller
from service_platform.telemetry.rate_limit_spans import hit_recorded
from service_platform.telemetry.request_tracing import (
    name_account,
    name_span,
    server_span,
    take_over_span,
)

_BEARER: Final = b"bearer "
_REQUEST_TIMEOUT: Final = REQUEST_TIMEOUT_HEADER.encode("ascii")


class Verifier(Protocol):
    """Turns a bearer token into a principal (`identity.TokenVerifier`)."""

    def verify_cached(self, token: str) -> Principal | None:
        """Return the principal of a token seen before and still good, without waiting."""

    async def verify(self, token: str) -> Principal:
        """Return the principal of the token; raises a `Problem` when it is refused."""


class AdmissionMiddleware:
    """Decides who calls and whether the request may be served, then calls the router.

    Args:
        app: the router.
        application: whose routes are looked at.
        deadlines: of the requests in flight.
        verifier: `None` where a service has no identity; then nobody is ever authenticated.
        limiter: `None` switches rate limits off.
        policies: rate limits of every request.
        platform_routes: of the platform itself, such as the probes; served without limits where
            the service has no route of its own for that very path.
        compile_endpoint: see `acceleration.endpoints`; `None` without acceleration.
    """

    def __init__(
        self,
        app: ASGIApp,
        application: FastAPI,
        deadlines: Deadlines,
        *,
        verifier: Verifier | None,
        limiter: Limiter | None,
        policies: tuple[Policy, ...],
        platform_routes: Sequence[BaseRoute],
        compile_endpoint: EndpointCompiler | None = None,
    ) -> None:
        self._app = app
        self._application = application
        self._deadlines = deadlines
        self._verifier = verifier
        self._limiter = limiter
        self._policies = policies if limiter is not None else ()
        self._platform_router = Router(platform_routes, redirect_slashes=False)
        self._platform_table = RouteTable(platform_routes, _path_of)
        self._platform_segments = frozenset(
            _first_segment(str(getattr(route, "path", ""))) for route in platform_routes
        )
        read = partial(
            read_route_info, service_policies=self._policies, compile_endpoint=compile_endpoint
        )
        self.table: RouteTable[RouteInfo] = RouteTable(application.router.routes, read)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or WebSocket.

        Raises:
            TooManyRequests: a quota is used up.
            GatewayTimeout: the response did not start within the time limit.
            Unauthorized: the route needs a valid token, and there is none.
            KeysUnavailable: the route needs a valid token, which cannot be verified now.
            BadRequest: there is more than one `Authorization`.
        """
        context: RequestContext | None = scope.get(SCOPE_KEY)
        if context is None or scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif context.raised is not None:
            error, context.raised = context.raised, None
            raise error
        elif context.admitted:
            await self._app(scope, receive, send)
        else:
            span = server_span(context)
            if span is not None:
                take_over_span(context, span)
            await self._within_deadline(context, self._serve(context, scope, receive, send))

    async def serve_compiled(
        self, context: RequestContext, scope: Scope, receive: Receive, send: Send
    ) -> bool:
        """Serve a request whose endpoint is compiled, as the call would.

        Returns:
            False for any other request, of which nothing was decided then.
        """
        path = get_route_path(scope)
        match = self.table.find(scope, path)
        if match is None or match.info.compiled is None or not self._may_call(match, scope):
            return False
        if match.path != path and _first_segment(path) in self._platform_segments:
            return False
        await self._within_deadline(
            context, self._admit_and_call(context, match, scope, receive, send)
        )
        return True

    async def _within_deadline(self, context: RequestContext, serving: Awaitable[None]) -> None:
        """Wait until a request is served; raise `GatewayTimeout` when it is cancelled for time."""
        context.admitted = True
        try:
            await serving
        except asyncio.CancelledError:
            if not context.timed_out or context.status:
                raise
            task = asyncio.current_task()
            if task is None or task is not context.task:
                raise  # a middleware of the service has put the router into another task
            task.uncancel()
            raise GatewayTimeout from None

    async def _serve(
        self, context: RequestContext, scope: Scope, receive: Receive, send: Send
    ) -> None:
        path = get_route_path(scope)
        match = self.table.find(scope, path)
        if scope["type"] == "http":
            if scope["method"] == "HEAD" and (match is None or not match.is_full):
                as_get = {**scope, "method": "GET"}
                match, scope, send = self.table.find(as_get, path), as_get, _without_body(send)
            if _first_segment(path) in self._platform_segments and (
                match is None or match.path != path
            ):
                own = self._platform_table.find(scope, path)
                if own is not None:
                    context.route = own.path
                    await self._platform_router(scope, receive, send)
                    return
            if match is not None and not match.is_full:
                context.allowed_methods = self.table.allowed_methods(scope, path)
        if match is not None and self._may_call(match, scope):
            await self._admit_and_call(context, match, scope, receive, send)
            return
        await self._admit(context, match)
        if match is None and path[-1:] == "\n" and scope["type"] == "http":
            raise HTTPException(404)  # the router would overlook it
        if match is not None and match.is_full:
            receive = require_plain_body(match.info.route, context, receive)
        await self._app(scope, receive, send)

    def _may_call(self, match: RouteMatch[RouteInfo], scope: Scope) -> bool:
        """Say whether a compiled endpoint does all that FastAPI's request handler would do now."""
        return (
            match.info.compiled is not None
            and match.is_full
            and not match.is_nested
            and not self._application.dependency_overrides
            and scope.get("fastapi.telemetry") is None  # spans are made in the request handler
        )

    async def _admit_and_call(
        self,
        context: RequestContext,
        match: RouteMatch[RouteInfo],
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        await self._admit(context, match)
        scope.update(match.child_scope, route=match.info.route)
        scope.setdefault("router", self._application.router)
        compiled = cast("Endpoint", match.info.compiled)
        response = await compiled(Request(scope, receive, send))
        await response(scope, receive, send)

    async def _admit(self, context: RequestContext, match: RouteMatch[RouteInfo] | None) -> None:
        policies = self._policies
        needs_token = False
        if match is not None:
            info = match.info
            context.route = match.path
            if context.is_recorded:
                name_span(context)  # FastAPI names those that are not refused here
            policies = info.policies
            if info.message_policies and self._limiter is not None:
                context.message_limit = partial(
                    _may_send_message, self._limiter, info.message_policies
                )
            if info.timeout is not None:
                asked = context.headers.get(_REQUEST_TIMEOUT)
                self._deadlines.change(context, info.timeout, asked)
            needs_token = (
                info.requires_principal
                and match.is_full
                and not self._application.dependency_overrides
            )
        authorization = context.headers.get(b"authorization")
        if authorization is not None:
            if sum(name == b"authorization" for name, _ in context.scope["headers"]) > 1:
                raise BadRequest("The request has more than one Authorization header.")
            if self._verifier is not None:
                await self._identify(self._verifier, context, authorization)
        refusal = context.authentication_error
        if needs_token and isinstance(refusal, KeysUnavailable):
            raise refusal  # its caller would be counted as somebody else
        if self._limiter is not None and policies:
            await self._take(self._limiter, context, policies)
        if needs_token and context.principal is None:
            raise refusal or Unauthorized()  # before the body is read

    async def _identify(
        self, verifier: Verifier, context: RequestContext, authorization: bytes
    ) -> None:
        """Verify the bearer token.

        A refused token is only noted, so that a public route answers whatever a client's stale
        header says.
        """
        if authorization[:7].lower() != _BEARER:
            return
        token = authorization[7:].strip().decode("latin-1")
        principal = verifier.verify_cached(token)
        if principal is None:
            try:
                principal = await verifier.verify(token)
            except Problem as problem:
                context.authentication_error = problem
                return
        context.principal = principal
        if context.is_recorded:
            name_account(context, str(principal.subject))

    async def _take(
        self, limiter: Limiter, context: RequestContext, policies: tuple[Policy, ...]
    ) -> None:
        """Take the cost of the request from the quotas of its caller, or refuse it."""
        caller = RateLimitCaller.of(context)
        if context.is_recorded:
            decision = await hit_recorded(limiter, caller, policies, server_span(context))
        else:
            answer = limiter.hit_nowait(caller, policies)
            decision = answer if isinstance(answer, Decision) else await answer
        context.response_headers += decision.headers
        if not decision.allowed:
            raise decision.problem()


async def _may_send_message(
    limiter: Limiter, policies: tuple[Policy, ...], context: RequestContext
) -> bool:
    """Take one message of a WebSocket from the quotas of its client; `False` past a limit."""
    decision = await limiter.hit(RateLimitCaller.of(context), policies)
    return decision.allowed


def _first_segment(path: str) -> str:
    """Return what is before the second slash, without a line feed that a `$` would overlook."""
    return path[1:].partition("/")[0].removesuffix("\n")


def _path_of(route: RouteContext) -> str | None:
    return route.path


def _without_body(send: Send) -> Send:
    """Return a `send` for HEAD: the headers of GET and no content (RFC 9110, section 9.3.2)."""

    async def send_headers_only(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await send(message)

    return send_headers_only
