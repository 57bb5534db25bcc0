"""Reads what a route declares: rate limits, time limit, whether it needs an access token."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from fastapi.routing import APIRoute, RouteContext
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from service_platform.identity.dependencies import requires_principal
from service_platform.middleware.deadlines import RouteTimeout, declared_timeout
from service_platform.ratelimit import Policy, declared_policies

Endpoint = Callable[[Request], Awaitable[Response]]
EndpointCompiler = Callable[[RouteContext], Endpoint | None]


@dataclass(frozen=True, slots=True)
class RouteInfo:
    """What is decided by the route of a request.

    Attributes:
        policies: rate limits of a request (or of connecting, for a WebSocket), the service's own
            ones included.
        message_policies: rate limits of each message of a WebSocket.
        timeout: its own time limit.
        requires_principal: whether it answers 401 without a valid token.
        route: of FastAPI or Starlette.
        compiled: calls the endpoint without FastAPI's request handler.
    """

    policies: tuple[Policy, ...]
    message_policies: tuple[Policy, ...]
    timeout: RouteTimeout | None
    requires_principal: bool
    route: BaseRoute
    compiled: Endpoint | None


def read_route_info(
    route: RouteContext,
    service_policies: tuple[Policy, ...],
    compile_endpoint: EndpointCompiler | None,
) -> RouteInfo:
    """Read the decorators and dependencies of a route's endpoint.

    Args:
        route: of FastAPI or Starlette.
        service_policies: rate limits of every request of the service.
        compile_endpoint: see `acceleration.endpoints`; `None` without acceleration.
    """
    endpoint = route.endpoint
    declared = declared_policies(endpoint) if endpoint is not None else ()
    compiled = None
    if compile_endpoint is not None and isinstance(route.original_route, APIRoute):
        compiled = compile_endpoint(route)
    return RouteInfo(
        (*service_policies, *(policy for policy in declared if policy.per == "request")),
        tuple(policy for policy in declared if policy.per == "message"),
        declared_timeout(endpoint),
        requires_principal(getattr(route, "dependant", None)),
        route.original_route,
        compiled,
    )
