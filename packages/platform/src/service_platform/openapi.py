"""The OpenAPI document of a service: FastAPI's, completed with what the platform answers."""

from collections.abc import Iterator
from typing import Any, Final

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.exceptions import HTTPException

from service_platform.errors import (
    PROBLEM_MEDIA_TYPE,
    BadRequest,
    GatewayTimeout,
    InternalError,
    MalformedBody,
    PayloadTooLarge,
    Problem,
    ProblemDetail,
    ServiceUnavailable,
    TooManyRequests,
    Unauthorized,
    UnsupportedMediaType,
    ValidationFailed,
    responses,
)
from service_platform.errors.handlers import handle_http_exception, handle_validation_error
from service_platform.errors.problem import PROBLEMS_PATH
from service_platform.identity.errors import KeysUnavailable
from service_platform.identity.openapi import describe_security

ALWAYS: Final[tuple[type[Problem], ...]] = (
    BadRequest,
    TooManyRequests,
    InternalError,
    ServiceUnavailable,
    GatewayTimeout,
)
WITH_BODY: Final[tuple[type[Problem], ...]] = (
    MalformedBody,
    PayloadTooLarge,
    UnsupportedMediaType,
    ValidationFailed,
)
OPERATIONS: Final = frozenset({"get", "put", "post", "delete", "options", "head", "patch", "trace"})
"""Members of a path that are operations (OpenAPI 3.1, Path Item Object)."""
_REFERENCE: Final = "#/components/schemas/{model}"


def operation_id(route: APIRoute) -> str:
    """Return the name of the endpoint, which a generated client takes for its method.

    For `generate_unique_id_function` of FastAPI; the names of a service's endpoints are unique.
    """
    return route.name


def describe_problems(document: dict[str, Any], app: FastAPI) -> None:
    """Document every error as the problem it really is, and how to authenticate.

    Where the service answers errors by handlers of its own, FastAPI's description stays.

    Args:
        document: FastAPI's OpenAPI document; changed in place.
        app: the application.
    """
    _add_parameters(document, app)
    answered = app.exception_handlers
    if (
        answered.get(HTTPException) is handle_http_exception
        and answered.get(RequestValidationError) is handle_validation_error
    ):
        _add_problems(document)
    describe_security(document, app.state.settings)
    for operation in _operations(document):
        if _verifies_tokens(operation):
            _add_answers(operation["responses"], KeysUnavailable)
        operation["responses"] = dict(sorted(operation.get("responses", {}).items()))
        _point_to_documentation(operation["responses"], app.state.settings.problem_type_base_url)


def _operations(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for path in document.get("paths", {}).values():
        yield from (operation for method, operation in path.items() if method in OPERATIONS)


def _add_parameters(document: dict[str, Any], app: FastAPI) -> None:
    """Add the parameters of dependencies that read the request themselves.

    Such a dependency is an object with `openapi_parameters`, as `etags.ReadPreconditions` is.
    """
    for route in iter_route_contexts(app.routes):
        if not isinstance(route.original_route, APIRoute) or not route.include_in_schema:
            continue
        added = [
            parameter
            for dependant in _flatten(route.dependant)
            for parameter in getattr(dependant.call, "openapi_parameters", ())
        ]
        for method in route.methods or ():
            operation = document["paths"].get(route.path_format, {}).get(method.lower())
            if operation is None or not added:
                continue
            parameters = operation.setdefault("parameters", [])
            known = {(each["in"], each["name"]) for each in parameters}
            parameters += [each for each in added if (each["in"], each["name"]) not in known]


def _flatten(dependant: Dependant) -> Iterator[Dependant]:
    yield dependant
    for needed in dependant.dependencies:
        yield from _flatten(needed)


def _add_problems(document: dict[str, Any]) -> None:
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    # Without `default: null`, as FastAPI has it: clients expect what has a default.
    problem = jsonable_encoder(
        ProblemDetail.model_json_schema(ref_template=_REFERENCE, mode="serialization"),
        exclude_none=True,
    )
    schemas.update(problem.pop("$defs"))
    schemas["ProblemDetail"] = problem
    for operation in _operations(document):
        _describe_operation(operation)
        for parameter in operation.get("parameters", []):
            parameter["schema"] = _without_null(parameter.get("schema", {}))
    # Callbacks and webhooks are other people's APIs: what FastAPI says of them stays.
    for name in ("HTTPValidationError", "ValidationError"):
        described = schemas.pop(name, None)
        if described is not None and _REFERENCE.format(model=name) in str(document):
            schemas[name] = described


def _describe_operation(operation: dict[str, Any]) -> None:
    """Add the problems that any route may answer to those that it declares."""
    answers = operation["responses"]
    if _REFERENCE.format(model="HTTPValidationError") in str(answers.get("422")):
        answers["422"] = responses(ValidationFailed)[ValidationFailed.status]
    possible = ALWAYS + WITH_BODY if "requestBody" in operation else ALWAYS
    _add_answers(answers, *possible)


def _add_answers(answers: dict[str, Any], *problems: type[Problem]) -> None:
    for status, added in responses(*problems).items():
        declared = answers.setdefault(str(status), added)
        if declared is not added:
            _merge(declared, added)


def _verifies_tokens(operation: dict[str, Any]) -> bool:
    """Whether a token that the platform verifies is demanded, as `describe_security` declares."""
    content = operation.get("responses", {}).get(str(Unauthorized.status), {}).get("content", {})
    return Unauthorized.code() in content.get(PROBLEM_MEDIA_TYPE, {}).get("examples", {})


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Remove null from the schema of a parameter, which is left out or has a value."""
    choices = [each for each in schema.get("anyOf", []) if each != {"type": "null"}]
    others = {name: value for name, value in schema.items() if name != "anyOf"}
    if not choices or len(choices) == len(schema["anyOf"]):
        return schema
    return {**choices[0], **others} if len(choices) == 1 else {"anyOf": choices, **others}


def _merge(declared: dict[str, Any], added: dict[str, Any]) -> None:
    """Add problems to a declared response; one of another media type stays as it is declared."""
    problem = declared.get("content", {}).get(PROBLEM_MEDIA_TYPE)
    if problem is None or "examples" not in problem:
        return
    examples = added["content"][PROBLEM_MEDIA_TYPE]["examples"]
    missing = {name: each for name, each in examples.items() if name not in problem["examples"]}
    if missing:
        problem["examples"] |= missing
        texts = [each["value"]["detail"] for each in missing.values()]
        declared["description"] = " ".join([declared["description"], *texts])


def _point_to_documentation(answers: dict[str, Any], base_url: str) -> None:
    """Let the `type` of examples begin as the `type` of real problems does."""
    for answer in answers.values():
        content = answer.get("content", {}).get(PROBLEM_MEDIA_TYPE, {})
        for name, example in content.get("examples", {}).items():
            value = example.get("value", {})
            kind = str(value.get("type", ""))
            if kind.startswith(f"{PROBLEMS_PATH}/"):
                moved = {**value, "type": base_url + kind.removeprefix(PROBLEMS_PATH)}
                content["examples"][name] = {**example, "value": moved}
