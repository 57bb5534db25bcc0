"""The OpenAPI document of a service: FastAPI's, with problems instead of its default errors."""

from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from service_platform.errors import (
    BadRequest,
    GatewayTimeout,
    InternalError,
    MalformedBody,
    PayloadTooLarge,
    Problem,
    ProblemDetail,
    ServiceUnavailable,
    TooManyRequests,
    UnsupportedMediaType,
    ValidationFailed,
    responses,
)
from service_platform.errors.handlers import handle_http_exception, handle_validation_error
from service_platform.identity.openapi import describe_security

ALWAYS: tuple[type[Problem], ...] = (
    BadRequest,
    TooManyRequests,
    InternalError,
    ServiceUnavailable,
    GatewayTimeout,
)
WITH_BODY: tuple[type[Problem], ...] = (
    MalformedBody,
    PayloadTooLarge,
    UnsupportedMediaType,
    ValidationFailed,
)
OPERATIONS = frozenset({"get", "put", "post", "delete", "options", "head", "patch", "trace"})
"""Members of a path that are operations (OpenAPI 3.1, Path Item Object)."""
_REFERENCE = "#/components/schemas/{model}"


def describe_problems(document: dict[str, Any], app: FastAPI) -> None:
    """Document every error as the problem it really is, and how to authenticate.

    Where the service answers errors by handlers of its own, FastAPI's description stays.

    Args:
        document: FastAPI's OpenAPI document; changed in place.
        app: the application.
    """
    answered = app.exception_handlers
    if (
        answered.get(HTTPException) is handle_http_exception
        and answered.get(RequestValidationError) is handle_validation_error
    ):
        _add_problems(document)
    describe_security(document, app.state.settings)


def _add_problems(document: dict[str, Any]) -> None:
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    problem = ProblemDetail.model_json_schema(ref_template=_REFERENCE, mode="serialization")
    schemas.update(problem.pop("$defs"))
    schemas["ProblemDetail"] = problem
    for path in document.get("paths", {}).values():
        for method, operation in path.items():
            if method in OPERATIONS:
                _describe_operation(operation)
    # Callbacks and webhooks are other people's APIs: what FastAPI says of them stays.
    for name in ("HTTPValidationError", "ValidationError"):
        described = schemas.pop(name, None)
        if described is not None and _REFERENCE.format(model=name) in str(document):
            schemas[name] = described


def _describe_operation(operation: dict[str, Any]) -> None:
    """Add what every route may answer; what a route declares itself stays."""
    answers = operation["responses"]
    if _REFERENCE.format(model="HTTPValidationError") in str(answers.get("422")):
        answers["422"] = responses(ValidationFailed)[422]
    possible = ALWAYS + WITH_BODY if "requestBody" in operation else ALWAYS
    for status, answer in responses(*possible).items():
        answers.setdefault(str(status), answer)
