"""The application factory: what a service is made of becomes a FastAPI application."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from service_platform.api_docs import docs_routes
from service_platform.context import SCOPE_KEY, RequestContext
from service_platform.errors import NotFound
from service_platform.errors.handlers import install_error_handlers
from service_platform.errors.pages import problem_routes
from service_platform.gate import Gate
from service_platform.health import health_routes
from service_platform.logging import configure_logging
from service_platform.metrics import metrics_routes
from service_platform.middleware import EdgeMiddleware
from service_platform.openapi import describe
from service_platform.ratelimit import Limiter, Policy
from service_platform.resources import Lifecycle, Resource
from service_platform.routing import PlatformRoute, Router
from service_platform.settings import PlatformSettings


class ServiceApp(FastAPI):
    """A FastAPI application whose outermost layer is the platform's.

    Attributes:
        settings: the settings it was made with.
        lifecycle: its resources and where it is between start and end.
        gate: authentication and rate limits in front of every route.
    """

    def __init__(
        self, settings: PlatformSettings, lifecycle: Lifecycle, gate: Gate, **options: Any
    ) -> None:
        super().__init__(**options)
        self.settings = settings
        self.lifecycle = lifecycle
        self.gate = gate

    def build_middleware_stack(self) -> ASGIApp:
        """The layers around the router: the edge, then what a service added itself.

        Starlette's two error layers are left out: the edge answers every exception, by the
        handlers registered on the application and otherwise with a 500.
        """
        app: ASGIApp = self.router
        for middleware, args, kwargs in reversed(self.user_middleware):
            app = middleware(app, *args, **kwargs)
        return EdgeMiddleware(app, self.settings, self.lifecycle, self.exception_handlers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer; FastAPI's telemetry is asked only where it is switched on."""
        if self.settings.otel_enabled:
            await super().__call__(scope, receive, send)
            return
        scope["app"] = self
        if self.middleware_stack is None:
            self.middleware_stack = self.build_middleware_stack()
        await self.middleware_stack(scope, receive, send)


def create_app(
    settings: PlatformSettings,
    *,
    routers: Sequence[Router],
    resources: Sequence[Resource],
    unversioned_routers: Sequence[Router] = (),
) -> ServiceApp:
    """Make the application of a service; may be called any number of times.

    Args:
        settings: see `load_settings`.
        routers: routes below `API_V1_PREFIX`.
        resources: started in this order, stopped in reverse, found as `app.state.<name>`. One
            named `identity` verifies tokens, one named `limiter` replaces the limiter made from
            the settings.
        unversioned_routers: routes with paths fixed elsewhere, such as `/.well-known`.
    """
    configure_logging(settings)
    by_name = {resource.name: resource for resource in resources}
    if settings.rate_limit_enabled and "limiter" not in by_name:
        by_name["limiter"] = Limiter.from_settings(settings, by_name.get("redis"))
    lifecycle = Lifecycle(tuple(by_name.values()))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with lifecycle:
            yield

    app = ServiceApp(
        settings,
        lifecycle,
        Gate(by_name.get("identity"), by_name.get("limiter")),  # type: ignore[arg-type]
        title=settings.project_name,
        version=settings.version,
        lifespan=lifespan,
        redirect_slashes=False,
        telemetry={"auto_configure": settings.otel_enabled},
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
    )
    app.state.settings = settings
    for name, resource in by_name.items():
        setattr(app.state, name, resource)
    install_error_handlers(app, settings.problem_type_base_url)
    _mount(app, settings, routers, unversioned_routers)
    return app


def _mount(
    app: ServiceApp,
    settings: PlatformSettings,
    routers: Sequence[Router],
    unversioned_routers: Sequence[Router],
) -> None:
    """Put the service's routes first, the platform's own behind them."""
    service_wide = Policy.service_wide(settings) if app.gate.limiter else ()
    routes = [
        route
        for prefix, group in ((settings.api_v1_prefix, routers), ("", unversioned_routers))
        for router in group
        for route in router.mounted_at(prefix, app)
    ]
    for route in routes:
        route.policies = (*service_wide, *route.policies)
    app.router.routes.extend(routes)
    app.router.routes.extend(health_routes(settings, app.lifecycle))
    app.router.routes.extend(metrics_routes())
    app.router.routes.extend(problem_routes())
    if settings.docs_enabled:
        describe(app, settings)
        app.router.routes.extend(docs_routes(settings, app))
    app.router.default = _Unmatched(app, service_wide)


class _Unmatched:
    """The end of routing: paths that do not exist, counted against the caller's quota too."""

    def __init__(self, app: ServiceApp, policies: tuple[Policy, ...]) -> None:
        self._app = app
        self._policies = policies

    async def __call__(self, scope: Scope, _: Receive, send: Send) -> None:
        """Answer 404, or 429 to a caller who tried too many paths."""
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1000, "reason": ""})
            return
        context: RequestContext = scope[SCOPE_KEY]
        await self._app.gate.admit(context, self._policies)
        raise NotFound


__all__ = ["PlatformRoute", "ServiceApp", "create_app"]
