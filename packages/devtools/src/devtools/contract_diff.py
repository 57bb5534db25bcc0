"""Compares two OpenAPI documents of a service: does the new one break clients of the old one?"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from devtools.contract_rules import RULES
from devtools.contract_schemas import Direction, Found, Pair, Side, compare

METHODS: Final = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
PROBLEM: Final = "application/problem+json"

_PATH_PARAMETER: Final = re.compile(r"\{[^}]*\}")

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Break:
    """A change that breaks a client.

    Attributes:
        rule: its kind, one of `contract_rules.RULES`.
        place: what is changed: a member of a schema, or a part of an operation.
        what: what is different, in words.
        operations: whose it is, by their ids.
    """

    rule: str
    place: str
    what: str
    operations: tuple[str, ...]

    def __str__(self) -> str:
        of = "" if not self.operations else f" ({', '.join(self.operations)})"
        return f"{self.rule} {self.place}: {self.what}{of}"


def breaks(old: Document, new: Document) -> list[Break]:
    """Every change that breaks a client of the old document; each is told once."""
    found: dict[tuple[str, str], tuple[str, list[str]]] = {}
    operations = _operations(new)
    for key, operation in _operations(old).items():
        name = f"{key[0].upper()} {operation['path']}"
        whose = operation["it"].get("operationId", name)
        if key not in operations:
            of_operation: Iterator[Found] = iter([("operation-removed", name, "is gone")])
        else:
            of_operation = _operation(_Compared(old, new, name), operation, operations[key])
        for rule, place, what in of_operation:
            known = found.setdefault((rule, place), (what, []))[1]
            if whose not in known:
                known.append(whose)
    return [
        Break(rule, place, what, () if rule == "operation-removed" else tuple(whose))
        for (rule, place), (what, whose) in found.items()
    ]


@dataclass(frozen=True, slots=True)
class _Compared:
    """The documents, and the operation of both that is looked at."""

    old: Document
    new: Document
    name: str

    def schemas(self, old: Any, new: Any, direction: Direction, where: str) -> Iterator[Found]:
        """Compare the schemas of a part of the operation."""
        place = f"{self.name} {where}"
        pair = Pair(Side(old or {}, self.old), Side(new or {}, self.new), direction, place)
        return compare(pair)


def _operations(document: Document) -> dict[tuple[str, str], dict[str, Any]]:
    """Every operation by method and path, whose parameters count by their position."""
    found = {}
    for path, members in document.get("paths", {}).items():
        for method in METHODS:
            if method in members:
                operation = members[method]
                parameters = [*members.get("parameters", []), *operation.get("parameters", [])]
                found[method, _PATH_PARAMETER.sub("{}", path)] = {
                    "path": path,
                    "it": operation,
                    "parameters": parameters,
                    "security": operation.get("security", document.get("security", [])),
                }
    return found


def _operation(both: _Compared, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Found]:
    before, now = old["it"], new["it"]
    ids = (before.get("operationId"), now.get("operationId"))
    if ids[0] != ids[1]:
        yield "operation-renamed", both.name, f"{ids[0]} is now {ids[1]}"
    tags = (before.get("tags", [])[:1], now.get("tags", [])[:1])
    if tags[0] != tags[1]:
        yield "operation-moved", both.name, f"{tags[0]} is now {tags[1]}"
    for entry in old["security"] or [{}]:
        if not any(_is_enough(entry, wanted) for wanted in new["security"] or [{}]):
            yield "security-stricter", both.name, f"{_who(entry)} is no longer enough"
    yield from _parameters(both, old["parameters"], new["parameters"])
    yield from _body(both, before.get("requestBody"), now.get("requestBody"))
    yield from _responses(both, before.get("responses", {}), now.get("responses", {}))


def _is_enough(has: Mapping[str, list[str]], wanted: Mapping[str, list[str]]) -> bool:
    return all(name in has and set(names) <= set(has[name]) for name, names in wanted.items())


def _who(entry: Mapping[str, list[str]]) -> str:
    parts = [" ".join([name, *names]) for name, names in entry.items()]
    return " with ".join(parts) or "no token"


def _parameters(both: _Compared, old: list[Any], new: list[Any]) -> Iterator[Found]:
    before, now = _by_name(old), _by_name(new)
    for key, parameter in before.items():
        where = ".".join(key)
        if key not in now:
            yield "parameter-removed", f"{both.name} {where}", "is gone"
            continue
        schemas = (parameter.get("schema"), now[key].get("schema"))
        yield from both.schemas(*schemas, "request", where)
    for key, parameter in now.items():
        if parameter.get("required") and not before.get(key, {}).get("required"):
            how = "is no longer optional" if key in before else "is new and required"
            yield "parameter-required", f"{both.name} {'.'.join(key)}", how


def _by_name(parameters: list[Any]) -> dict[tuple[str, str], Any]:
    """Names of headers are the same in upper and lower case."""
    return {
        (each["in"], each["name"].lower() if each["in"] == "header" else each["name"]): each
        for each in parameters
    }


def _body(both: _Compared, old: Any, new: Any) -> Iterator[Found]:
    place = f"{both.name} body"
    if old and not new:
        yield "request-body-removed", place, "is gone"
        return
    if new and new.get("required") and not (old or {}).get("required"):
        yield "request-body-required", place, "is no longer optional" if old else "is new"
    for kind, content in (old or {}).get("content", {}).items():
        other = new.get("content", {}).get(kind)
        if other is None:
            yield "request-media-type-removed", f"{place} {kind}", "is gone"
        else:
            yield from both.schemas(content.get("schema"), other.get("schema"), "request", "body")


def _responses(both: _Compared, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Found]:
    for status in new:
        if status not in old and status.startswith("2"):
            yield "response-status-added", f"{both.name} {status}", "is another success"
    for status, answer in old.items():
        place = f"{both.name} {status}"
        if status not in new:
            yield "response-status-removed", place, "is no longer answered"
            continue
        headers = {name.lower() for name in new[status].get("headers", {})}
        for name in answer.get("headers", {}):
            if name.lower() not in headers:
                yield "response-header-removed", f"{place} {name}", "is gone"
        contents = new[status].get("content", {})
        for kind, content in answer.get("content", {}).items():
            if kind not in contents:
                yield "response-media-type-removed", f"{place} {kind}", "is gone"
                continue
            schemas = (content.get("schema"), contents[kind].get("schema"))
            yield from both.schemas(*schemas, "response", status)
            if kind == PROBLEM:
                yield from _problems(place, content, contents[kind])


def _problems(place: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Found]:
    """The `error` of each problem is told by an example of it."""
    for name in old.get("examples", {}):
        if name not in new.get("examples", {}):
            yield "response-problem-removed", f"{place} {name}", "is no longer answered"


__all__ = ["RULES", "Break", "Document", "breaks"]
