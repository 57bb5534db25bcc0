"""The collections of a service that anybody can add to, found in its OpenAPI document."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from devtools.openapi import path_of
from devtools.services import AUTH, SERVICES, Service

JSON: Final = "application/json"
KEY: Final = "idempotency-key"


@dataclass(frozen=True, slots=True)
class Request:
    """A request of a collection, as the document describes it.

    Attributes:
        title: its summary.
        members: of its body, each with its schema, or with that of its first type.
        example: a body that the document gives; empty where it gives none.
    """

    title: str
    members: Mapping[str, Mapping[str, Any]]
    example: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Collection:
    """A path that makes an entry of the caller by `POST`.

    Attributes:
        path: such as `/api/v1/orders`; an entry is below it, by its `id`.
        create: makes an entry.
        is_repeatable: an `Idempotency-Key` makes it safe to create again.
        further: what else there is: `list` of the collection; `read`, `change`, `delete` of an
            entry.
    """

    path: str
    create: Request
    is_repeatable: bool
    further: Mapping[str, Request]

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]


def collections_to_fill() -> dict[Service, list[Collection]]:
    """Find those of every service but auth, whose accounts are made before all else."""
    found = {
        service: list(collections_of(json.loads(path_of(service).read_text(encoding="utf-8"))))
        for service in SERVICES
        if service is not AUTH
    }
    return {service: collections for service, collections in found.items() if collections}


def collections_of(document: Mapping[str, Any]) -> Iterator[Collection]:
    """Yield the collections of an OpenAPI document in its order.

    That is a path without parameters where an account without roles creates, by `POST`, what the
    document has an example of, and is answered 201 with an `id`.
    """
    paths = document["paths"]
    for path, methods in paths.items():
        operation = methods.get("post", {})
        create = _request(document, operation)
        if "{" in path or create is None or not create.example:
            continue
        if "id" not in _members(document, operation, "201"):
            continue
        entry = next((each for each in paths if re.fullmatch(rf"{path}/{{\w+}}", each)), "")
        operations = {
            "list": methods.get("get", {}),
            "read": paths.get(entry, {}).get("get", {}),
            "change": paths.get(entry, {}).get("patch", {}),
            "delete": paths.get(entry, {}).get("delete", {}),
        }
        if "items" not in _members(document, operations["list"], "200"):
            operations["list"] = {}
        requests = {name: _request(document, each) for name, each in operations.items()}
        parameters = {each["name"].lower() for each in operation.get("parameters", [])}
        yield Collection(
            path,
            create,
            KEY in parameters,
            {name: each for name, each in requests.items() if each is not None},
        )


def _request(document: Mapping[str, Any], operation: Mapping[str, Any]) -> Request | None:
    """A request that an account without roles may send; `None` where there is none."""
    if not operation or any(each.get("Bearer") for each in operation.get("security", [])):
        return None
    schema = _schema(document, operation.get("requestBody", {}))
    members = {
        name: _resolved(document, each) for name, each in schema.get("properties", {}).items()
    }
    example: Any = next(iter(schema.get("examples", [])), None)
    return Request(operation["summary"], members, example if isinstance(example, dict) else {})


def _members(document: Mapping[str, Any], operation: Mapping[str, Any], status: str) -> set[str]:
    """Of an answer's body."""
    answer = operation.get("responses", {}).get(status, {})
    return set(_schema(document, answer).get("properties", {}))


def _schema(document: Mapping[str, Any], body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Of a body as JSON; empty where there is none."""
    return _resolved(document, body.get("content", {}).get(JSON, {}).get("schema", {}))


def _resolved(document: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """A schema without a reference or a choice of types at its top."""
    while True:
        if name := schema.get("$ref", "").rpartition("/")[2]:
            schema = document["components"]["schemas"][name]
        elif choices := schema.get("anyOf"):
            schema = choices[0]
        else:
            return schema
