"""The base class of every problem, its JSON form and the registry of all of them (RFC 9457)."""

import re
import types
from collections.abc import Iterable, Mapping, Sequence
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

_FACTS: Final = frozenset({"status", "instance", "request_id"})
"""Members that no extension replaces: they tell of this response and this request."""

registry: dict[str, type["Problem"]] = {}
"""Every problem class by its slug; filled as the classes are defined."""


class Problem(HTTPException):
    """An error that is an answer: raise it anywhere below a route.

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
        """The `error` member: the slug as an identifier."""
        return cls.slug.replace("-", "_")

    @classmethod
    def uri(cls, base_url: str) -> str:
        """The `type` member."""
        return cls.type_uri or f"{base_url}/{cls.slug}"

    def body(self, *, base_url: str, request_id: str) -> bytes:
        """The JSON object of the answer, encoded."""
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
        if self.details is not None:
            content["details"] = self.details
        extensions = {name: value for name, value in self.extensions.items() if name not in _FACTS}
        return orjson.dumps(content | extensions, default=str, option=orjson.OPT_NON_STR_KEYS)

    def response(self, *, base_url: str, request_id: str) -> Response:
        """The complete answer."""
        return Response(
            self.body(base_url=base_url, request_id=request_id),
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
    """A UUID for this occurrence: the request id where it is one, so that both name one thing."""
    try:
        return str(UUID(request_id))
    except ValueError:
        return str(uuid7())


class FieldProblem(BaseModel):
    """One wrong field of a request."""

    field: str = Field(examples=["body.email"])
    pointer: str | None = Field(
        None, description="JSON Pointer into the body (RFC 6901).", examples=["#/email"]
    )
    message: str = Field(examples=["Field required"])
    type: str = Field(examples=["missing"])


class ProblemDetail(BaseModel):
    """The shape of every error (RFC 9457)."""

    type: str = Field(examples=["https://api.example.com/problems/not-found"])
    title: str
    status: int
    detail: str
    instance: str = Field(examples=["urn:uuid:019ab6a1-7c1e-7d3e-8f6e-2f0c6a1f5a10"])
    error: str = Field(examples=["not_found"])
    message: str
    request_id: str
    details: list[FieldProblem] | None = None


def responses(*problems: type[Problem]) -> dict[int | str, dict[str, Any]]:
    """The `responses=` of a route decorator for the problems the route can answer."""
    by_status: dict[int, list[type[Problem]]] = {}
    for problem in problems:
        by_status.setdefault(problem.status, []).append(problem)
    return {status: _openapi_response(found) for status, found in sorted(by_status.items())}


def _openapi_response(problems: Iterable[type[Problem]]) -> dict[str, Any]:
    return {
        "description": " ".join(problem.default_message for problem in problems),
        "content": {PROBLEM_MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetail"}}},
    }
