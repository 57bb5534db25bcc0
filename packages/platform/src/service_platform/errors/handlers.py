"""Turns every exception that reaches the application into a problem response."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match

from service_platform.context import SCOPE_KEY, RequestContext
from service_platform.errors.catalogue import (
    BadRequest,
    Forbidden,
    GatewayTimeout,
    InternalError,
    MalformedBody,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    PreconditionFailed,
    ServiceUnavailable,
    TooManyRequests,
    Unauthorized,
    UnsupportedMediaType,
    ValidationFailed,
)
from service_platform.errors.database import database_problem
from service_platform.errors.problem import Problem
from service_platform.logging import get_logger

METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
MAX_FIELD_LENGTH: Final = 128
MAX_DETAILS: Final = 50

_BY_STATUS: Final[dict[int, type[Problem]]] = {
    problem.status: problem
    for problem in (
        BadRequest, Unauthorized, Forbidden, NotFound, MethodNotAllowed, PreconditionFailed,
        PayloadTooLarge, UnsupportedMediaType, ValidationFailed, TooManyRequests, InternalError,
        ServiceUnavailable, GatewayTimeout,
    )
}  # fmt: skip

_QUOTING_TYPES: Final = frozenset(
    {"uuid_parsing", "value_error", "url_parsing", "union_tag_invalid"}
)
"""Kinds of validation error whose message goes on to quote the input behind `:` or `,`."""
_quotation: Final = re.compile(r"\s*[:,(].*| '.*", re.DOTALL)

log = get_logger("service_platform.errors")


def install_error_handlers(app: FastAPI, base_url: str) -> None:
    """Register the handlers.

    Args:
        app: the application.
        base_url: what the `type` of a problem begins with.
    """

    def respond(request: Request, problem: Problem) -> Response:
        context: RequestContext = request.scope[SCOPE_KEY]
        return problem.response(base_url=base_url, request_id=context.request_id)

    async def on_http(request: Request, error: HTTPException) -> Response:
        return respond(request, from_http_exception(request, error))

    async def on_validation(request: Request, error: RequestValidationError) -> Response:
        return respond(request, from_validation_error(error))

    async def on_database(request: Request, error: SQLAlchemyError) -> Response:
        problem = database_problem(error)
        if problem is None:
            raise error
        if problem.status >= InternalError.status:
            log.warning("database_error", error=type(error).__name__, answered=problem.status)
        return respond(request, problem)

    app.exception_handlers |= {
        HTTPException: on_http,
        RequestValidationError: on_validation,
        SQLAlchemyError: on_database,
    }


def from_http_exception(request: Request, error: HTTPException) -> Problem:
    """The problem for an exception of FastAPI or Starlette; a `Problem` is itself."""
    if isinstance(error, Problem):
        return error
    if error.status_code == MethodNotAllowed.status:
        return MethodNotAllowed(headers={"allow": ", ".join(allowed_methods(request))})
    if error.status_code == BadRequest.status and "parsing the body" in str(error.detail):
        return MalformedBody()
    known = _BY_STATUS.get(error.status_code)
    if known is None:
        known = InternalError if error.status_code >= InternalError.status else BadRequest
    default_phrase = known is NotFound and error.detail == "Not Found"
    message = None if default_phrase else str(error.detail)
    return known(message, headers=dict(error.headers or {}))


def allowed_methods(request: Request) -> list[str]:
    """Every method the path has, for `Allow` (RFC 9110, section 10.2.1)."""
    routes = request.app.router.routes
    allowed = []
    for method in METHODS:
        scope = {**request.scope, "method": method}
        if any(route.matches(scope)[0] is Match.FULL for route in routes):
            allowed += ["GET", "HEAD"] if method == "GET" else [method]
    return allowed


def from_validation_error(error: RequestValidationError) -> Problem:
    """The problem for wrong input; input values are never repeated."""
    errors: Sequence[Mapping[str, Any]] = error.errors()
    if any(item["type"] == "json_invalid" for item in errors):
        return MalformedBody("The request body is not valid JSON.")
    return ValidationFailed(details=[_detail(item) for item in errors[:MAX_DETAILS]])


def _detail(item: Mapping[str, Any]) -> dict[str, Any]:
    location = [str(part) for part in item["loc"]]
    message = str(item["msg"]).removeprefix("Value error, ")
    if item["type"] in _QUOTING_TYPES:
        message = _quotation.sub("", message) or "Value is not valid"
    return {
        "field": ".".join(location)[:MAX_FIELD_LENGTH],
        "pointer": _pointer(location),
        "message": message,
        "type": item["type"],
    }


def _pointer(location: list[str]) -> str | None:
    """JSON Pointer into the body as a URI fragment (RFC 6901, section 6)."""
    if not location or location[0] != "body":
        return None
    parts = (part.replace("~", "~0").replace("/", "~1") for part in location[1:])
    return "#" + "".join(f"/{part}" for part in parts)[:MAX_FIELD_LENGTH]
