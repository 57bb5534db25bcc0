"""Routers and routes of a service: FastAPI's, with the gate in front of each endpoint."""

import re
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, Final

from fastapi import APIRouter, params
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from service_platform.context import SCOPE_KEY, RequestContext
from service_platform.endpoints import Plan, plan
from service_platform.errors import UnsupportedMediaType
from service_platform.ratelimit import Policy, declared_policies

_is_json: Final = re.compile(rb"application/([a-z0-9.-]+\+)?json\s*(;.*)?", re.IGNORECASE).fullmatch
_is_form: Final = re.compile(
    rb"(application/x-www-form-urlencoded|multipart/form-data)\s*(;.*)?", re.IGNORECASE
).fullmatch


class PlatformRoute(APIRoute):
    """A route that checks media type, token and quotas before its endpoint runs.

    Attributes:
        policies: rate limits of the endpoint itself (`@limit`); the service's global ones are
            added by `create_app`.
    """

    policies: tuple[Policy, ...]
    methods: set[str]

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        self.app = _answer(self.get_route_handler())
        application = self.dependency_overrides_provider
        if application is not None and not application.settings.otel_enabled:
            planned = plan(self)
            if planned is not None:
                self.app = _answer_by(planned, self.app, application)
        self.policies = declared_policies(endpoint)
        self._accepts: Callable[[bytes], object] | None = None
        if self.body_field is not None:
            form = isinstance(self.body_field.field_info, params.Form)
            self._accepts = _is_form if form else _is_json

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the gate, then answer."""
        context: RequestContext = scope[SCOPE_KEY]
        context.route = self.path_format
        if scope["method"] not in self.methods:
            raise HTTPException(405)
        await scope["app"].gate.admit(context, self.policies)
        if self._accepts is not None:
            self._refuse_wrong_media_type(context)
        await self.app(scope, receive, send)

    def _refuse_wrong_media_type(self, context: RequestContext) -> None:
        headers = context.headers
        has_body = headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers
        accepts = self._accepts
        if has_body and accepts is not None and not accepts(headers.get(b"content-type", b"")):
            expected = "a form" if accepts is _is_form else "application/json"
            raise UnsupportedMediaType(f"The body must be {expected}; set Content-Type.")


def _answer(handler: Callable[[Request], Awaitable[Response]]) -> ASGIApp:
    """The ASGI application around FastAPI's request handler.

    FastAPI's own wraps it in an exception handler per route and in three exit stacks; here the
    edge handles exceptions for all routes, and files are closed with the request's dependencies.
    """

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        async with AsyncExitStack() as request_stack:
            scope["fastapi_middleware_astack"] = request_stack
            scope["fastapi_inner_astack"] = request_stack
            async with AsyncExitStack() as function_stack:
                scope["fastapi_function_astack"] = function_stack
                response = await handler(request)
            await response(scope, receive, send)

    return app


def _answer_by(planned: Plan, otherwise: ASGIApp, application: Any) -> ASGIApp:
    """The ASGI application around a plan, which knows nothing of overridden dependencies."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if application.dependency_overrides:
            await otherwise(scope, receive, send)
            return
        response = await planned(Request(scope, receive, send))
        await response(scope, receive, send)

    return app


class Router(APIRouter):
    """An `APIRouter` that `create_app` mounts by declaring its routes on the application itself.

    FastAPI matches a route of an included router twice, once to find the router and once inside;
    routes of the application are matched once.
    """

    def __init__(self, **options: Any) -> None:
        options.setdefault("route_class", PlatformRoute)
        super().__init__(**options)
        self._declared: list[tuple[str, Callable[..., Any], dict[str, Any]]] = []

    def add_api_route(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        """Declare a route; the decorators end here."""
        super().add_api_route(path, endpoint, **options)
        self._declared.append((path, endpoint, options))

    def include_router(self, *_: Any, **__: Any) -> None:
        """Not supported: hand every router to `create_app`.

        Raises:
            TypeError: always.
        """
        raise TypeError("Give each Router to create_app(routers=[...]) instead of nesting them.")

    def mounted_at(self, prefix: str, overrides: Any) -> list[PlatformRoute]:
        """The routes as they stand below `prefix`.

        Args:
            prefix: path prefix, such as `/api/v1`, or empty.
            overrides: the application whose `dependency_overrides` apply.
        """
        target = APIRouter(
            prefix=prefix + self.prefix,
            tags=self.tags,
            dependencies=self.dependencies,
            responses=self.responses,
            default_response_class=self.default_response_class,
            route_class=self.route_class,
            dependency_overrides_provider=overrides,
        )
        for path, endpoint, options in self._declared:
            target.add_api_route(path, endpoint, **options)
        return [route for route in target.routes if isinstance(route, PlatformRoute)]
