"""The OpenAPI document of a service: FastAPI's, with problems instead of its default errors."""

from typing import Any

from fastapi import FastAPI

from service_platform.errors import (
    PROBLEM_MEDIA_TYPE,
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
from service_platform.identity.openapi import describe_security
from service_platform.settings import PlatformSettings

ALWAYS: tuple[type[Problem], ...] = (TooManyRequests, InternalError, ServiceUnavailable)
WITH_BODY: tuple[type[Problem], ...] = (
    MalformedBody,
    PayloadTooLarge,
    UnsupportedMediaType,
    ValidationFailed,
)
_REFERENCE = "#/components/schemas/{model}"


def describe(app: FastAPI, settings: PlatformSettings) -> None:
    """Replace `app.openapi` by one that documents every error as the problem it really is."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = _with_problems(plain())
            describe_security(document, settings)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _with_problems(document: dict[str, Any]) -> dict[str, Any]:
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas.pop("HTTPValidationError", None)
    schemas.pop("ValidationError", None)
    problem = ProblemDetail.model_json_schema(ref_template=_REFERENCE, mode="serialization")
    schemas.update(problem.pop("$defs"))
    schemas["ProblemDetail"] = problem
    for path in document.get("paths", {}).values():
        for operation in path.values():
            _describe_operation(operation)
    return document


def _describe_operation(operation: dict[str, Any]) -> None:
    answers = operation["responses"]
    possible = ALWAYS + WITH_BODY if "requestBody" in operation else ALWAYS
    for status, answer in responses(*possible).items():
        known = answers.get(str(status), {})
        if PROBLEM_MEDIA_TYPE not in known.get("content", {}):
            answers[str(status)] = answer
    default = answers.get("422")
    if default is not None and PROBLEM_MEDIA_TYPE not in default.get("content", {}):
        answers["422"] = responses(ValidationFailed)[422]
