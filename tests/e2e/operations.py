"""What tests use of each service, whatever it does: found in the OpenAPI documents of docs/api."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.e2e.system import SERVICES

from devtools.openapi import FOLDER

PREFIX = "/api/v1"
CHANGING = ("DELETE", "PUT", "PATCH", "POST")

DOCUMENTS: dict[str, dict[str, Any]] = {
    service: json.loads((FOLDER / f"{service}.json").read_text(encoding="utf-8"))
    for service in SERVICES
}


@dataclass(frozen=True)
class Operation:
    """An operation of a service's API.

    Attributes:
        service: its name.
        method: such as `GET`.
        path: below `/api/v1`, such as `/users/{account_id}`.
        described: what the document says of it.
    """

    service: str
    method: str
    path: str
    described: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def has_one_address(self) -> bool:
        """Whether no part of its path is a parameter."""
        return "{" not in self.path

    @property
    def needs_token(self) -> bool:
        """Whether nobody may use it without one."""
        return bool(self.described.get("security"))

    @property
    def needs_role(self) -> bool:
        """Whether not every account may use it."""
        return any(scheme.get("Bearer") for scheme in self.described.get("security", ()))

    @property
    def body(self) -> dict[str, Any]:
        """The schema of the JSON it takes; empty when it takes none."""
        content = self.described.get("requestBody", {}).get("content", {})
        schema: dict[str, Any] = content.get("application/json", {}).get("schema", {})
        if "$ref" in schema:
            schemas = DOCUMENTS[self.service]["components"]["schemas"]
            schema = schemas[schema["$ref"].rpartition("/")[2]]
        return schema

    @property
    def query(self) -> dict[str, dict[str, Any]]:
        """The parameters of its query, by name."""
        parameters = self.described.get("parameters", ())
        return {each["name"]: each for each in parameters if each["in"] == "query"}


def operations() -> Iterator[Operation]:
    """All of every service, in the order of its document."""
    for service, document in DOCUMENTS.items():
        for path, methods in document["paths"].items():
            if path.startswith(f"{PREFIX}/"):
                for method, described in methods.items():
                    below = path.removeprefix(PREFIX)
                    yield Operation(service, method.upper(), below, described)


def wrong_method(service: str, path: str) -> str:
    """A method with which a path of a service is no operation."""
    right = {
        each.method
        for each in operations()
        if each.service == service and re.fullmatch(re.sub(r"{\w+}", "[^/]+", each.path), path)
    }
    return next(method for method in CHANGING if method not in right)


def _first_of_each(wanted: Callable[[Operation], bool]) -> dict[str, Operation]:
    found: dict[str, Operation] = {}
    for each in operations():
        if each.has_one_address and not each.needs_role and wanted(each):
            found.setdefault(each.service, each)
    return found


def _is_readable(operation: Operation) -> bool:
    required = any(each.get("required") for each in operation.query.values())
    return operation.method == "GET" and operation.needs_token and not required


def _text_members(operation: Operation) -> Iterator[tuple[str, int]]:
    for name, member in operation.body.get("properties", {}).items():
        for schema in member.get("anyOf", (member,)):
            if "maxLength" in schema and not {"format", "pattern"} & set(schema):
                yield name, schema["maxLength"]


OWN_PATHS = {service: each.path for service, each in _first_of_each(_is_readable).items()}
"""A route of each service that answers any account's token with 200, and nothing without one."""
BODIES = _first_of_each(lambda each: bool(each.body))
"""A route of each service that takes JSON of any account."""
TEXT_MEMBERS = {
    service: found for service, each in BODIES.items() for found in list(_text_members(each))[:1]
}
"""A member of that JSON that is any text up to some length, and that length."""
