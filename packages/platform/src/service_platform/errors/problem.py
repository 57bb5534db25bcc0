"""The base class of every problem, its JSON form and the registry of all of them (RFC 9457)."""

import re
import types
from collections.abc import Mapping, Sequence
from functools import cache
from http import HTTPStatus
from typing import Any, ClassVar, Final
from uuid import UUID

import orjson
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response
from uuid_utils import uuid7

PROBLEM_MEDIA_TYPE: Final = "application/problem+json"

PROBLEMS_PATH: Final = "/problems"
"""Where every service documents its problems; the `type` points there unless the settings say
where else they are published."""

_EXAMPLE_ID: Final = "019ab6a1-7c1e-7d3e-8f6e-2f0c6a1f5a10"
_EXAMPLE_TRACE: Final = "4bf92f3577b34da6a3ce929d0e0e4736"
_SECONDS: Final = {"schema": {"type": "integer", "minimum": 0}, "example": 1}
_RETRY_AFTER: Final = {"Retry-After": {"description": "Seconds to wait.", **_SECONDS}}
_HEADERS: Final[dict[int, dict[str, Any]]] = {
    401: {
        "WWW-Authenticate": {
            "description": "How to authenticate (RFC 6750).",
            "schema": {"type": "string"},
            "example": "Bearer",
        }
    },
    429: _RETRY_AFTER,
    503: _RETRY_AFTER,
}

_FACTS: Final = frozenset({"status", "instance", "request_id", "trace_id"})
"""Members that no extension replaces: they tell of this response and this request."""

registry: dict[str, type["Problem"]] = {}
"""Every problem class by its slug; filled as the classes are defined."""


class Problem(HTTPException):
    """An error response: raise it anywhere below a route.

    A subclass sets the class variables and is registered by its `slug`; its docstring becomes
    the documentation page of the problem's `type`. It is an `HTTPException`, so that FastAPI lets
    it pass unchanged while it reads a request body.

    Args:
        message: one sentence for the caller; the class's `default_message` where omitted.
        details: list of `{field, pointer, message, type}`, for validation errors.
        headers: response headers, such as `WWW-Authenticate`.
        extensions: further members of the JSON object (RFC 9457, section 3.2).
    """

    slug: ClassVar[str]
    status: ClassVar[int]
    title: ClassVar[str]
    default_message: ClassVar[str]
    type_uri: ClassVar[str | None] = None
    """Absolute `type` registered elsewhere (IANA); otherwise made from the slug."""
    has_details: ClassVar[bool] = False
    """Whether it names fields of the request in `details`."""

    def __init__(
        self,
        message: str | None = None,
        *,
        details: Sequence[Mapping[str, Any]] | None = None,
        headers: Mapping[str, str] | None = None,
        **extensions: Any,
    ) -> None:
        self.message = message or self.default_message
        self.details = details
        self.extensions = extensions
        super().__init__(self.status, detail=self.message, headers=dict(headers or {}))

    def __init_subclass__(cls, *, registered: bool = True, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not registered:
            return
        known = registry.setdefault(cls.slug, cls)
        if known.__qualname__ != cls.__qualname__ or known.__module__ != cls.__module__:
            raise TypeError(f"Two problems have the slug {cls.slug!r}: {known} and {cls}")

    @classmethod
    def code(cls) -> str:
        """Return the `error` member: the slug as an identifier."""
        return cls.slug.replace("-", "_")

    @classmethod
    def uri(cls, base_url: str) -> str:
        """Return the `type` member."""
        return cls.type_uri or f"{base_url}/{cls.slug}"

    def body(self, *, base_url: str, request_id: str, trace_id: str | None = None) -> bytes:
        """Encode the JSON object of the response."""
        content: dict[str, Any] = {
            "type": self.uri(base_url),
            "title": self.title,
            "status": self.status,
            "detail": self.message,
            "instance": f"urn:uuid:{instance_id(request_id)}",
            "error": self.code(),
            "message": self.message,
            "request_id": request_id,
        }
        if trace_id is not None:
            content["trace_id"] = trace_id
        if self.details is not None:
            content["details"] = self.details
        extensions = {name: value for name, value in self.extensions.items() if name not in _FACTS}
        return orjson.dumps(content | extensions, default=str, option=orjson.OPT_NON_STR_KEYS)

    def response(self, *, base_url: str, request_id: str, trace_id: str | None = None) -> Response:
        """Make the complete response.

        Args:
            base_url: of the `type`.
            request_id: identifies the request in the logs.
            trace_id: of the request's trace; `None` for what never became a request.
        """
        return Response(
            self.body(base_url=base_url, request_id=request_id, trace_id=trace_id),
            status_code=self.status,
            headers={"cache-control": "no-store", **(self.headers or {})},
            media_type=PROBLEM_MEDIA_TYPE,
        )


@cache
def problem_of_status(status: int) -> type[Problem]:
    """Return the problem class for an error of which nothing is known but its status.

    Its `type` is `about:blank`, which says just that (RFC 9457, section 4.2.1).
    """
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Error"
    attributes = {
        "slug": re.sub(r"[^a-z]+", "-", phrase.lower()).strip("-"),
        "status": status,
        "title": phrase,
        "default_message": f"{phrase}.",
        "type_uri": "about:blank",
        "__module__": __name__,
    }
    made: type[Problem] = types.new_class(
        f"Status{status}", (Problem,), {"registered": False}, lambda body: body.update(attributes)
    )
    return made


def instance_id(request_id: str) -> str:
    """Return a UUID for this occurrence: the request id where it is one, else a new one."""
    try:
        return str(UUID(request_id))
    except ValueError:
        return str(uuid7())


class FieldProblem(BaseModel):
    """One wrong field of a request."""

    field: str = Field(description="Where it is.", examples=["body.email"])
    pointer: str | None = Field(
        None, description="JSON Pointer into the body (RFC 6901).", examples=["#/email"]
    )
    message: str = Field(description="What is wrong.", examples=["Field required"])
    type: str = Field(description="Kind of the error, for programs.", examples=["missing"])


class ProblemDetail(BaseModel):
    """An error (RFC 9457)."""

    type: str = Field(
        description="Identifies the kind of problem, and documents it when opened.",
        examples=["/problems/not-found"],
        json_schema_extra={"format": "uri-reference"},
    )
    title: str = Field(description="The kind of problem in words.", examples=["Not found"])
    status: int = Field(description="The HTTP status.", examples=[404], ge=400, le=599)
    detail: str = Field(
        description="What happened this time.", examples=["The resource does not exist."]
    )
    instance: str = Field(
        description="Identifies this occurrence.",
        examples=[f"urn:uuid:{_EXAMPLE_ID}"],
        json_schema_extra={"format": "uri"},
    )
    error: str = Field(description="The kind of problem as an identifier.", examples=["not_found"])
    message: str = Field(
        description="The same as `detail`.", examples=["The resource does not exist."]
    )
    request_id: str = Field(
        description="Identifies the request in the logs.", examples=[_EXAMPLE_ID]
    )
    trace_id: str | None = Field(
        None,
        description="Identifies the request's trace (W3C Trace Context).",
        examples=[_EXAMPLE_TRACE],
    )
    details: list[FieldProblem] | None = Field(None, description="The wrong fields of a request.")


def responses(*problems: type[Problem]) -> dict[int | str, dict[str, Any]]:
    """Document problems: the `responses=` of a route, with an example of each."""
    by_status: dict[int, list[type[Problem]]] = {}
    for problem in problems:
        by_status.setdefault(problem.status, []).append(problem)
    return {status: _openapi_response(found) for status, found in sorted(by_status.items())}


def _openapi_response(problems: Sequence[type[Problem]]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "description": " ".join(problem.default_message for problem in problems),
        "content": {
            PROBLEM_MEDIA_TYPE: {
                "schema": {"$ref": "#/components/schemas/ProblemDetail"},
                "examples": {problem.code(): _example(problem) for problem in problems},
            }
        },
    }
    headers = _HEADERS.get(problems[0].status)
    return described if headers is None else {**described, "headers": headers}


def _example(problem: type[Problem]) -> dict[str, Any]:
    """Return the example in OpenAPI: what the problem says without a message of its own."""
    value: dict[str, Any] = {
        "type": problem.uri(PROBLEMS_PATH),
        "title": problem.title,
        "status": problem.status,
        "detail": problem.default_message,
        "instance": f"urn:uuid:{_EXAMPLE_ID}",
        "error": problem.code(),
        "message": problem.default_message,
        "request_id": _EXAMPLE_ID,
        "trace_id": _EXAMPLE_TRACE,
    }
    if problem.has_details:
        value["details"] = [
            {
                "field": "body.name",
                "pointer": "#/name",
                "message": "Field required",
                "type": "missing",
            }
        ]
    return {"summary": problem.title, "value": value}
