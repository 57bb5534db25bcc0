"""Handles exceptions: every one that reaches the application becomes a problem response.

A service may register handlers of its own for any exception or status; they win.
"""

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from fastapi.exception_handlers import http_exception_handler
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import SQLAlchemyError
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import PlainTextResponse, Response
from starlette.websockets import WebSocket, WebSocketState

from service_platform.context import SCOPE_KEY, RequestContext
from service_platform.errors.catalogue import (
    BadRequest,
    Conflict,
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
from service_platform.errors.problem import Problem, problem_of_status
from service_platform.logging import get_logger

MAX_FIELD_LENGTH: Final = 128
MAX_DETAILS: Final = 50
MAX_CLOSE_REASON: Final = 120
"""Bytes; a close frame has 123 (RFC 6455, section 5.5)."""

POLICY_VIOLATION: Final = 1008
INTERNAL_ERROR: Final = 1011

_BY_STATUS: Final[dict[int, type[Problem]]] = {
    problem.status: problem
    for problem in (
        BadRequest, Unauthorized, Forbidden, NotFound, MethodNotAllowed, Conflict,
        PreconditionFailed, PayloadTooLarge, UnsupportedMediaType, ValidationFailed,
        TooManyRequests, InternalError, ServiceUnavailable, GatewayTimeout,
    )
}  # fmt: skip

_QUOTING_TYPES: Final = frozenset(
    {"uuid_parsing", "value_error", "url_parsing", "union_tag_invalid"}
)
"""Kinds of validation error whose message goes on to quote the input behind `:` or `,`."""
_LENGTH_TYPES: Final = {
    "too_long": ("max_length", "at most"),
    "too_short": ("min_length", "at least"),
}
_quotation: Final = re.compile(r"\s*[:,(].*| '.*", re.DOTALL)
_is_form: Final = re.compile(
    r"\s*(application/x-www-form-urlencoded|multipart/form-data)\s*(;.*)?", re.IGNORECASE
).fullmatch

log = get_logger("service_platform.errors")


async def handle_http_exception(
    connection: HTTPConnection, error: HTTPException
) -> Response | None:
    """Answer an `HTTPException` of FastAPI or Starlette, or a `Problem`.

    Redirects and responses without content are answered as FastAPI answers them. A WebSocket that
    was accepted already is closed instead.
    """
    if isinstance(connection, WebSocket) and (
        connection.application_state is not WebSocketState.CONNECTING
    ):
        await _close(connection, error)
        return None
    if error.status_code < BadRequest.status:
        return await http_exception_handler(Request(connection.scope), error)
    return _respond(connection, from_http_exception(connection, error))


async def handle_validation_error(
    connection: HTTPConnection, error: RequestValidationError
) -> Response:
    """Answer wrong input: 422, or 400 and 415 where the body could not be read at all."""
    return _respond(connection, from_validation_error(connection, error))


async def handle_database_error(connection: HTTPConnection, error: SQLAlchemyError) -> Response:
    """Answer a failed database operation.

    Raises:
        SQLAlchemyError: the fault is the service's own.
    """
    problem = database_problem(error)
    if problem is None:
        raise error
    if problem.status >= InternalError.status:
        log.warning("database_error", error=type(error).__name__, answered=problem.status)
    return _respond(connection, problem)


async def handle_client_disconnect(_: HTTPConnection, __: ClientDisconnect) -> None:
    """Answer nothing to a client that left while it was sending."""


async def handle_unexpected_error(connection: HTTPConnection, _: Exception) -> Response:
    """Answer an unhandled exception by a 500 that says nothing of it; Starlette raises it on.

    A service that answers an `HTTPException` in its own form gets Starlette's plain text here.
    """
    context: RequestContext = connection.scope[SCOPE_KEY]
    if not context.answers_problems:
        return PlainTextResponse("Internal Server Error", InternalError.status)
    return _respond(connection, InternalError())


PROBLEM_HANDLERS: Final[Mapping[Any, Any]] = {
    HTTPException: handle_http_exception,
    RequestValidationError: handle_validation_error,
    SQLAlchemyError: handle_database_error,
    ClientDisconnect: handle_client_disconnect,
    Exception: handle_unexpected_error,
}
"""The handlers that a `ServiceApp` registers where its service has none."""


def _respond(connection: HTTPConnection, problem: Problem) -> Response:
    context: RequestContext = connection.scope[SCOPE_KEY]
    return problem.response(
        base_url=context.settings.problem_type_base_url,
        request_id=context.request_id,
        trace_id=context.trace_id,
    )


async def _close(websocket: WebSocket, error: HTTPException) -> None:
    if websocket.application_state is WebSocketState.CONNECTED:
        expected = error.status_code < InternalError.status
        reason = str(error.detail).encode()[:MAX_CLOSE_REASON].decode(errors="ignore")
        await websocket.close(POLICY_VIOLATION if expected else INTERNAL_ERROR, reason)


def from_http_exception(connection: HTTPConnection, error: HTTPException) -> Problem:
    """Return the problem for an exception of FastAPI or Starlette; a `Problem` is itself."""
    if isinstance(error, Problem):
        return error
    status = error.status_code
    detail: object = error.detail  # FastAPI's may be anything
    headers = {name.lower(): value for name, value in (error.headers or {}).items()}
    if status == MethodNotAllowed.status:
        headers["allow"] = _allow(connection, headers.get("allow", ""))
    if status == BadRequest.status and "parsing the body" in str(detail):
        return MalformedBody(headers=headers)
    members: dict[str, Any] = {}
    message: object = None if detail == _phrase(status) else detail
    if isinstance(detail, Mapping):
        members = {str(name): value for name, value in detail.items()}
        texts = (members.pop("detail", None), members.pop("message", None))
        message = next((text for text in texts if text is not None), None)
    elif isinstance(detail, list | tuple):
        members, message = {"details": detail}, None
    known = _BY_STATUS.get(status) or problem_of_status(status)
    problem = known(None if message is None else str(message), headers=headers)
    problem.extensions = members
    return problem


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _allow(connection: HTTPConnection, named: str) -> str:
    """Return every method of the path: the router names those of the first route that has it."""
    context: RequestContext = connection.scope[SCOPE_KEY]
    allowed = context.allowed_methods
    others = sorted({each.strip() for each in named.split(",")} - {"", *allowed})
    return ", ".join((*allowed, *others))


def from_validation_error(connection: HTTPConnection, error: RequestValidationError) -> Problem:
    """Return the problem for wrong input; input values are never repeated."""
    errors: Sequence[Mapping[str, Any]] = error.errors()
    if any(item["type"] == "json_invalid" for item in errors):
        return MalformedBody("The request body is not valid JSON.")
    if any(item["loc"][:1] == ("body",) for item in errors):
        wanted = _wanted_media_type(connection, error.body)
        if wanted is not None:
            return UnsupportedMediaType(f"The body must be {wanted}; set Content-Type.")
    return ValidationFailed(details=[_detail(item) for item in errors[:MAX_DETAILS]])


def _wanted_media_type(connection: HTTPConnection, body: object) -> str | None:
    """Return what the body should have been, where its media type is why it could not be read.

    FastAPI passes on as bytes what is not declared to be JSON, and finds no form in other types.
    """
    if isinstance(body, bytes) and body:
        return "application/json"
    if isinstance(body, FormData) and not body:
        has_body = connection.headers.get("content-length", "") not in {"", "0"}
        if (has_body or "transfer-encoding" in connection.headers) and not _is_form(
            connection.headers.get("content-type", "")
        ):
            return "a form"
    return None


def _detail(item: Mapping[str, Any]) -> dict[str, Any]:
    location = [str(part) for part in item["loc"]]
    kind, message = item["type"], str(item["msg"]).removeprefix("Value error, ")
    if kind in _LENGTH_TYPES and isinstance(item["input"], str):
        kind, message = _length_of_text(kind, item["ctx"])
    elif kind in _QUOTING_TYPES:
        message = _quotation.sub("", message) or "Value is not valid"
    return {
        "field": ".".join(location)[:MAX_FIELD_LENGTH],
        "pointer": _pointer(location),
        "message": message,
        "type": kind,
    }


def _length_of_text(kind: str, context: Mapping[str, Any]) -> tuple[str, str]:
    """Return type and message of text that is too long or short.

    Where a constraint comes after a validator, pydantic takes text for a list of items.
    """
    limit, words = _LENGTH_TYPES[kind]
    length = context[limit]
    characters = "character" if length == 1 else "characters"
    return f"string_{kind}", f"String should have {words} {length} {characters}"


def _pointer(location: list[str]) -> str | None:
    """Return the JSON Pointer into the body as a URI fragment (RFC 6901, section 6)."""
    if not location or location[0] != "body":
        return None
    parts = (part.replace("~", "~0").replace("/", "~1") for part in location[1:])
    return "#" + "".join(f"/{part}" for part in parts)[:MAX_FIELD_LENGTH]
