"""Calls compiled endpoints without FastAPI's middleware stack where that adds nothing.

A request that succeeds goes through five layers of FastAPI and Starlette that would act on an
exception, on the body or on spans. Where no layer is the service's own, an endpoint that reads no
body can be called without them. When it raises, the request goes through the stack after all,
which then meets the same exception in the same place.
"""

from typing import Final

from fastapi import FastAPI
from fastapi._body_limit import AppBodyLimitMiddleware
from fastapi.middleware.asyncexitstack import AsyncExitStackMiddleware
from fastapi.telemetry._asgi import ExceptionTelemetryMiddleware
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from service_platform.acceleration.patches import is_unpatched
from service_platform.context import SCOPE_KEY, RequestContext
from service_platform.middleware.admission import AdmissionMiddleware

_LAYERS: Final = (
    ServerErrorMiddleware,
    ExceptionTelemetryMiddleware,
    AppBodyLimitMiddleware,
    ExceptionMiddleware,
    AsyncExitStackMiddleware,
)


class DirectDispatch:
    """Serves requests of compiled endpoints itself, and all others by the application.

    Args:
        app: FastAPI's own way, from its first layer on.
        application: whose middleware stack `app` leads into.
        admission: around the application's router.
    """

    def __init__(self, app: ASGIApp, application: FastAPI, admission: AdmissionMiddleware) -> None:
        self._app = app
        self._application = application
        self._admission = admission
        self._known_stack: ASGIApp | None = None
        self._is_plain = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or WebSocket."""
        if scope["type"] != "http" or scope["method"] != "GET" or not self._stack_is_plain():
            await self._app(scope, receive, send)
            return
        context: RequestContext = scope[SCOPE_KEY]
        if context.is_recorded is not False and self._application._native_telemetry.enabled():  # noqa: SLF001
            await self._app(scope, receive, send)  # which makes the spans
            return
        scope["app"] = self._application
        try:
            if await self._admission.serve_compiled(context, scope, receive, send):
                return
        except Exception as error:
            if context.status:
                raise
            context.raised = error
        await self._app(scope, receive, send)

    def _stack_is_plain(self) -> bool:
        """Whether the middleware stack has the framework's layers only, as they were written."""
        stack = self._application.middleware_stack
        if stack is None:  # FastAPI builds it for the first request
            return False
        if stack is not self._known_stack:
            self._known_stack = stack
            self._is_plain = self._consists_of_framework_layers(stack)
        return self._is_plain

    def _consists_of_framework_layers(self, stack: ASGIApp) -> bool:
        layer: ASGIApp | None = stack
        for expected in _LAYERS:
            if type(layer) is not expected:
                return False
            layer = getattr(layer, "app", None)
        return layer is self._application.router and is_unpatched()
