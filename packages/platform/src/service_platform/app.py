"""The application of a service: a FastAPI application with the platform around it.

FastAPI's middleware stack, exit stacks and exception handling are its own. The platform's
middleware goes around the whole of it, so that also the answer to an unhandled exception has its
headers, and `AdmissionMiddleware` goes around the router.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from typing import TYPE_CHECKING, Any, cast

from fastapi import APIRouter, FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from service_platform.api_docs import asset_routes, install_docs
from service_platform.errors.handlers import PROBLEM_HANDLERS
from service_platform.errors.pages import problem_routes
from service_platform.health import health_routes
from service_platform.logging import configure_logging
from service_platform.metrics import metrics_routes
from service_platform.middleware.admission import AdmissionMiddleware, Verifier
from service_platform.middleware.deadlines import Deadlines
from service_platform.middleware.platform import PlatformMiddleware
from service_platform.middleware.response_headers import ContentSecurityPolicies
from service_platform.middleware.route_info import EndpointCompiler
from service_platform.openapi import describe_problems, operation_id
from service_platform.ratelimit import Limiter, Policy
from service_platform.resources import Lifecycle, Resource
from service_platform.runtime import measure_runtime
from service_platform.settings import PlatformSettings, load_settings
from service_platform.telemetry.fastapi_config import telemetry_config

if TYPE_CHECKING:
    from service_platform.telemetry.export import TelemetryExport


class ServiceApp(FastAPI):
    """A FastAPI application with the platform's middleware, error responses and probes.

    Args:
        settings: see `load_settings`; read from the environment where omitted.
        resources: started in this order before the application's lifespan, stopped in reverse
            after it, found as `app.state.<name>`. One named `identity` verifies tokens, one named
            `limiter` replaces the limiter made from the settings.
        content_security_policies: `Content-Security-Policy` of pages, by path prefix, such as
            `{"/admin": "default-src 'self'"}`; everything else keeps the strict one of an API.
        options: everything that `FastAPI` takes, with FastAPI's defaults. Errors are answered as
            problems where the service has no handler of its own for them.

    Attributes:
        settings: the settings it was made with.
        lifecycle: its resources and where it is between start and end.

    Raises:
        ValueError: two resources have one name, or a policy belongs to no path.
    """

    def __init__(
        self,
        *,
        settings: PlatformSettings | None = None,
        resources: Sequence[Resource] = (),
        content_security_policies: Mapping[str, str] | None = None,
        **options: Any,
    ) -> None:
        self.settings = settings = settings or load_settings(PlatformSettings)
        configure_logging(settings)
        everything = list(resources)
        if settings.rate_limit_enabled and all(each.name != "limiter" for each in resources):
            redis = next((each for each in resources if each.name == "redis"), None)
            everything.append(Limiter.from_settings(settings, redis))
        self.lifecycle = Lifecycle(everything)
        options["exception_handlers"] = {
            **PROBLEM_HANDLERS,
            **(options.get("exception_handlers") or {}),
        }
        self._telemetry_export = _telemetry_export(settings)
        if self._telemetry_export is not None:  # otherwise FastAPI's own variables count
            options["telemetry"] = telemetry_config(options.get("telemetry"))
        self._described_document: dict[str, Any] | None = None
        super().__init__(**options)
        self.state.settings = settings
        for resource in everything:
            setattr(self.state, resource.name, resource)
        deadlines = Deadlines(settings.request_timeout_seconds)
        # As `Router(middleware=...)` does, which FastAPI's router does not take.
        admission = self.router.middleware_stack = self._admission(deadlines)
        self._platform_middleware = PlatformMiddleware(
            self._accelerated(self._serve_as_fastapi, admission),
            settings,
            self.lifecycle,
            deadlines=deadlines,
            content_security_policies=ContentSecurityPolicies(content_security_policies or {}),
            has_own_cors=self._has_own_cors,
            exception_handlers=self.exception_handlers,
            telemetry=self._telemetry_export,
        )
        self._start_resources_before_lifespan()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve as FastAPI does, inside of the platform's middleware."""
        await self._platform_middleware(scope, receive, send)

    async def _serve_as_fastapi(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call `FastAPI.__call__`, looked up each time: libraries replace it, also later."""
        await super().__call__(scope, receive, send)

    def openapi(self) -> dict[str, Any]:
        """Return FastAPI's OpenAPI document with the problems that routes really answer."""
        document = super().openapi()
        if document is not self._described_document:
            describe_problems(document, self)
            self._described_document = document
        return document

    def _admission(self, deadlines: Deadlines) -> AdmissionMiddleware:
        settings = self.settings
        limiter = cast("Limiter | None", getattr(self.state, "limiter", None))
        return AdmissionMiddleware(
            self.router.middleware_stack,
            self,
            deadlines,
            verifier=cast("Verifier | None", getattr(self.state, "identity", None)),
            limiter=limiter if settings.rate_limit_enabled else None,
            policies=Policy.service_wide(settings),
            platform_routes=[
                *health_routes(settings, self.lifecycle),
                *metrics_routes(),
                *problem_routes(),
                *asset_routes(),
            ],
            compile_endpoint=_endpoint_compiler(settings),
        )

    def _accelerated(self, app: ASGIApp, admission: AdmissionMiddleware) -> ASGIApp:
        if not self.settings.acceleration:
            return app
        from service_platform.acceleration.dispatch import DirectDispatch  # noqa: PLC0415

        return DirectDispatch(app, self, admission)

    def _has_own_cors(self) -> bool:
        """Whether the service brings CORS rules of its own."""
        classes = [middleware.cls for middleware in self.user_middleware]
        return any(isinstance(each, type) and issubclass(each, CORSMiddleware) for each in classes)

    def _start_resources_before_lifespan(self) -> None:
        lifespan = self.router.lifespan_context

        @asynccontextmanager
        async def with_resources(app: Any) -> AsyncIterator[Mapping[str, Any] | None]:
            # Begins first and ends last, so that the spans of a shutdown are exported, too.
            async with self._telemetry_export or nullcontext():
                with measure_runtime():
                    async with self.lifecycle, lifespan(app) as state:
                        yield state

        self.router.lifespan_context = with_resources  # type: ignore[assignment]


def _telemetry_export(settings: PlatformSettings) -> "TelemetryExport | None":
    if not settings.otel_enabled:
        return None
    from service_platform.telemetry.export import TelemetryExport  # noqa: PLC0415

    return TelemetryExport(settings)


def _endpoint_compiler(settings: PlatformSettings) -> EndpointCompiler | None:
    if not settings.acceleration:
        return None
    from service_platform.acceleration.endpoints import compile_endpoint  # noqa: PLC0415

    return compile_endpoint


def create_app(
    settings: PlatformSettings,
    *,
    routers: Sequence[APIRouter] = (),
    resources: Sequence[Resource] = (),
    unversioned_routers: Sequence[APIRouter] = (),
    **options: Any,
) -> ServiceApp:
    """Make the application of a service; may be called any number of times.

    It is a `ServiceApp` with the conventions of a service: name and version from the settings,
    routes below `API_V1_PREFIX`, API documentation without a CDN at `/docs` and `/redoc`, no
    redirects between `/users` and `/users/`, names of endpoints as operation ids.

    Args:
        settings: see `load_settings`.
        routers: any `APIRouter`; included below `API_V1_PREFIX`.
        resources: see `ServiceApp`.
        unversioned_routers: routes with paths fixed elsewhere, such as `/.well-known`.
        options: everything that `ServiceApp` and `FastAPI` take; they win over the conventions.
    """
    conventions = {
        "title": settings.project_name,
        "version": settings.version,
        "redirect_slashes": False,
        "generate_unique_id_function": operation_id,
        "openapi_url": f"{settings.api_v1_prefix}/openapi.json",
        "docs_url": "/docs",
        "redoc_url": "/redoc",
    }
    options = {**conventions, **options}
    pages = {name: options.pop(name) for name in ("openapi_url", "docs_url", "redoc_url")}
    app = ServiceApp(
        settings=settings,
        resources=resources,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        **options,
    )
    for router in routers:
        app.include_router(router, prefix=settings.api_v1_prefix)
    for router in unversioned_routers:
        app.include_router(router)
    if settings.docs_enabled:
        install_docs(app, **pages)
    return app


__all__ = ["ServiceApp", "create_app"]
