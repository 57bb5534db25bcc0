"""The comparison of APIs, on documents of auth and of a service that is made up."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from devtools.contract_diff import RULES, breaks
from devtools.contract_schemas import Pair, Side, compare
from devtools.openapi import FOLDER
from devtools.project import ROOT

BOOKS = "/api/v1/books"
BOOK = f"{BOOKS}/{{book_id}}"
NULL = {"type": "null"}
DOCUMENTS = {
    name: json.loads((folder / f"{name}.json").read_text())
    for name, folder in (("auth", FOLDER), ("books", Path(__file__).parent / "support"))
}

Api = Any
Change = Callable[[Api], object]


def operation(api: Api, path: str, method: str) -> Any:
    return api["paths"][path][method]


def answer(api: Api, path: str, method: str, status: str) -> Any:
    return operation(api, path, method)["responses"][status]


def parameter(api: Api, name: str) -> Any:
    return next(each for each in operation(api, BOOKS, "get")["parameters"] if each["name"] == name)


def member(api: Api, schema: str, name: str) -> Any:
    return schemas(api)[schema]["properties"][name]


def schemas(api: Api) -> Any:
    return api["components"]["schemas"]


def replace(schema: Any, new: dict[str, Any]) -> None:
    schema.clear()
    schema.update(new)


def body(api: Api) -> Any:
    return operation(api, BOOKS, "post")["requestBody"]


def move(members: Any, old: str, new: str) -> Any:
    members[new] = members.pop(old)
    return members


def rename_parameters(where: Any, kind: str, name: str | None) -> Any:
    for each in where["parameters"]:
        if each["in"] == kind:
            each["name"] = name or each["name"].upper()
    return where


def examples(api: Api, path: str, status: str) -> Any:
    content = answer(api, path, "get", status)["content"]
    return content["application/problem+json"]["examples"]


def without(schema: Any, kind: str) -> None:
    schema["anyOf"] = [each for each in schema["anyOf"] if each.get("type") != kind]


def require(schema: Any, name: str) -> Any:
    schema.setdefault("required", []).append(name)
    return schema


def rename_schema(api: Api, old: str, new: str) -> None:
    text = json.dumps(api).replace(f'/{old}"', f'/{new}"').replace(f'"{old}":', f'"{new}":')
    replace(api, json.loads(text))


BREAKING: list[tuple[str, str, Change]] = [
    ("operation-removed", f"DELETE {BOOK}", lambda a: a["paths"][BOOK].pop("delete")),
    ("operation-removed", f"GET {BOOK}", lambda a: a["paths"].pop(BOOK)),
    ("operation-renamed", f"GET {BOOKS}",
     lambda a: operation(a, BOOKS, "get").update(operationId="books")),
    ("operation-moved", f"GET {BOOKS}", lambda a: operation(a, BOOKS, "get").update(tags=["all"])),
    ("security-stricter", f"GET {BOOKS}",
     lambda a: operation(a, BOOKS, "get")["security"][0].update(OAuth2=["books:read", "more"])),
    ("security-stricter", f"GET {BOOKS}",
     lambda a: operation(a, BOOKS, "get")["security"][1].update(Bearer=["admin"])),
    ("security-stricter", f"GET {BOOKS}", lambda a: operation(a, BOOKS, "get")["security"].pop()),
    ("parameter-removed", f"GET {BOOKS} query.q",
     lambda a: operation(a, BOOKS, "get")["parameters"].remove(parameter(a, "q"))),
    ("parameter-removed", f"GET {BOOK} path.book_id",
     lambda a: (move(a["paths"], BOOK, f"{BOOKS}/{{id}}"),
                rename_parameters(operation(a, f"{BOOKS}/{{id}}", "get"), "path", "id"))),
    ("parameter-required", f"GET {BOOKS} query.colour",
     lambda a: operation(a, BOOKS, "get")["parameters"].append(
         {"in": "query", "name": "colour", "required": True, "schema": {"type": "string"}})),
    ("parameter-required", f"GET {BOOKS} query.q",
     lambda a: parameter(a, "q").update(required=True)),
    ("request-body-removed", f"POST {BOOKS} body",
     lambda a: operation(a, BOOKS, "post").pop("requestBody")),
    ("request-body-required", f"GET {BOOKS} body",
     lambda a: operation(a, BOOKS, "get").update(requestBody=body(a))),
    ("request-media-type-removed", f"POST {BOOKS} body application/json",
     lambda a: move(body(a)["content"], "application/json", "application/cbor")),
    ("request-property-removed", "BookCreate.tags",
     lambda a: schemas(a)["BookCreate"]["properties"].pop("tags")),
    ("request-property-required", "BookCreate.tags",
     lambda a: require(schemas(a)["BookCreate"], "tags")),
    ("request-property-required", "BookUpdate.colour",
     lambda a: (schemas(a)["BookUpdate"]["properties"].update(colour={"type": "string"}),
                require(schemas(a)["BookUpdate"], "colour"))),
    ("request-members-refused", "TokenForm",
     lambda a: schemas(a)["TokenForm"].update(additionalProperties=False)),
    ("request-default-changed", f"GET {BOOKS} query.limit",
     lambda a: parameter(a, "limit")["schema"].update(default=10)),
    ("request-type", "BookCreate.price",
     lambda a: without(member(a, "BookCreate", "price"), "null")),
    ("request-type", "BookCreate.price",
     lambda a: without(member(a, "BookCreate", "price")["anyOf"][0], "number")),
    ("request-type", "BookCreate.name",
     lambda a: member(a, "BookCreate", "name").update(type="integer")),
    ("request-enum", "BookSort", lambda a: schemas(a)["BookSort"]["enum"].remove("-price")),
    ("request-enum", f"GET {BOOKS} query.q",
     lambda a: parameter(a, "q")["schema"].update(enum=["lamp"])),
    ("request-bounds", "BookCreate.name",
     lambda a: member(a, "BookCreate", "name").update(maxLength=9)),
    ("request-bounds", "BookCreate.name",
     lambda a: member(a, "BookCreate", "name").update(minLength=2)),
    ("request-bounds", "BookCreate.tags",
     lambda a: member(a, "BookCreate", "tags").update(maxItems=1)),
    ("request-bounds", "BookCreate.tags[]",
     lambda a: member(a, "BookCreate", "tags")["items"].update(maxLength=1)),
    ("request-bounds", f"GET {BOOKS} query.limit",
     lambda a: parameter(a, "limit")["schema"].update(maximum=50)),
    ("request-bounds", "BookCreate.tags",
     lambda a: member(a, "BookCreate", "tags").update(uniqueItems=True)),
    ("request-pattern", "BookCreate.name",
     lambda a: member(a, "BookCreate", "name").update(pattern="a")),
    ("request-format", "BookCreate.name",
     lambda a: member(a, "BookCreate", "name").update(format="uri")),
    ("request-schema", "BookCreate.tags",
     lambda a: member(a, "BookCreate", "tags").update(contains={"const": "home"})),
    ("response-status-removed", f"POST {BOOKS} 201",
     lambda a: operation(a, BOOKS, "post")["responses"].pop("201")),
    ("response-status-added", f"POST {BOOKS} 202",
     lambda a: operation(a, BOOKS, "post")["responses"].update({"202": {"description": ""}})),
    ("response-problem-removed", f"GET {BOOK} 404 book_not_found",
     lambda a: move(examples(a, BOOK, "404"), "book_not_found", "gone")),
    ("response-media-type-removed", f"GET {BOOKS} 200 application/json",
     lambda a: move(answer(a, BOOKS, "get", "200")["content"], "application/json", "text/csv")),
    ("response-header-removed", f"GET {BOOK} 200 ETag",
     lambda a: answer(a, BOOK, "get", "200")["headers"].pop("ETag")),
    ("response-property-removed", "BookRead.owner_id",
     lambda a: (schemas(a)["BookRead"]["properties"].pop("owner_id"),
                schemas(a)["BookRead"]["required"].remove("owner_id"))),
    ("response-property-optional", "BookRead.owner_id",
     lambda a: schemas(a)["BookRead"]["required"].remove("owner_id")),
    ("response-type", "BookRead.name",
     lambda a: replace(member(a, "BookRead", "name"), {"anyOf": [{"type": "string"}, NULL]})),
    ("response-type", "BookRead.name",
     lambda a: member(a, "BookRead", "name").update(type=["string", "null"])),
    ("response-type", "BookRead.tags[]",
     lambda a: member(a, "BookRead", "tags").update(items={"type": "integer"})),
    ("response-type", "BookPage.items[]",
     lambda a: member(a, "BookPage", "items").update(items={"type": "string"})),
    ("response-enum", "TokenRead.token_type",
     lambda a: replace(member(a, "TokenRead", "token_type"), {"enum": ["Bearer", "DPoP"]})),
    ("response-enum", "TokenRead.token_type",
     lambda a: replace(member(a, "TokenRead", "token_type"), {"type": "string"})),
    ("response-bounds", "ProblemDetail.status",
     lambda a: member(a, "ProblemDetail", "status").update(maximum=699)),
    ("response-format", "BookRead.id", lambda a: member(a, "BookRead", "id").pop("format")),
    ("response-schema", "BookRead.tags",
     lambda a: member(a, "BookRead", "tags").update(prefixItems=[{"type": "string"}])),
]  # fmt: skip

HARMLESS: list[tuple[str, Change]] = [
    ("nothing", dict),
    ("a new version", lambda a: a["info"].update(version="9")),
    ("a new operation", lambda a: a["paths"].update(new=a["paths"][BOOKS])),
    ("a new optional parameter",
     lambda a: operation(a, BOOKS, "get")["parameters"].append(
         {"in": "query", "name": "colour", "schema": {"type": "string"}})),
    ("a header by another case",
     lambda a: rename_parameters(operation(a, BOOK, "get"), "header", None)),
    ("a new optional member of a request",
     lambda a: schemas(a)["BookCreate"]["properties"].update(colour={"type": "string"})),
    ("a member no longer required", lambda a: schemas(a)["BookCreate"].pop("required")),
    ("a new member of a response",
     lambda a: (schemas(a)["BookRead"]["properties"].update(colour={"type": "string"}),
                require(schemas(a)["BookRead"], "colour"))),
    ("null is accepted",
     lambda a: replace(of := member(a, "BookCreate", "name"), {"anyOf": [of.copy(), NULL]})),
    ("null is no longer answered", lambda a: without(member(a, "BookRead", "price"), "null")),
    ("a wider bound", lambda a: member(a, "BookCreate", "name").update(maxLength=300)),
    ("a bound is gone", lambda a: member(a, "BookCreate", "name").pop("maxLength")),
    ("another value is accepted", lambda a: schemas(a)["BookSort"]["enum"].append("colour")),
    ("another kind is accepted",
     lambda a: member(a, "BookCreate", "price")["anyOf"].append({"type": "boolean"})),
    ("a whole number is answered", lambda a: replace(
        member(a, "BookRead", "price"), {"anyOf": [{"type": "integer"}, NULL]})),
    ("a schema by another name", lambda a: rename_schema(a, "BookRead", "BookShown")),
    ("another description", lambda a: schemas(a)["BookRead"].update(description="Another.")),
    ("another example", lambda a: member(a, "BookRead", "name").update(examples=["Desk"])),
    ("another error", lambda a: operation(a, BOOKS, "get")["responses"].update(
        {"418": {"description": "A teapot."}})),
    ("fewer scopes", lambda a: operation(a, BOOKS, "get")["security"][0].update(OAuth2=[])),
    ("no token", lambda a: operation(a, BOOKS, "get").pop("security")),
]  # fmt: skip


def document_of(rule: str, place: str) -> Api:
    of_auth = place.startswith("Token")
    return DOCUMENTS["auth" if of_auth else "books"]


@pytest.mark.parametrize(("rule", "place", "change"), BREAKING, ids=range(len(BREAKING)))
def test_what_breaks_a_client_is_found_once_by_its_rule(
    rule: str, place: str, change: Change
) -> None:
    old = document_of(rule, place)
    new = copy.deepcopy(old)
    change(new)
    found = breaks(old, new)
    assert [each.rule for each in found if each.place == place] == [rule], found


@pytest.mark.parametrize(("name", "change"), HARMLESS)
def test_what_breaks_nobody_is_no_break(name: str, change: Change) -> None:
    old = DOCUMENTS["books"]
    new = copy.deepcopy(old)
    change(new)
    assert breaks(old, new) == []


def test_every_rule_is_tried() -> None:
    # The documents have no such response; see the test below.
    elsewhere = {"response-members-added", "response-pattern"}
    assert {rule for rule, _, _ in BREAKING} | elsewhere == set(RULES)


def test_every_rule_is_documented() -> None:
    text = (ROOT / "docs" / "contracts.md").read_text(encoding="utf-8")
    assert {rule for rule in RULES if f"`{rule}`" not in text} == set()


def test_a_break_names_the_operations_it_is_met_in() -> None:
    old = DOCUMENTS["books"]
    new = copy.deepcopy(old)
    schemas(new)["BookRead"]["required"].remove("name")
    (found,) = breaks(old, new)
    assert set(found.operations) == {
        "create_book",
        "list_books",
        "read_book",
        "update_book",
    }
    assert str(found).startswith("response-property-optional BookRead.name: may be left out now (")


STRING = {"type": "string"}
SCHEMAS: list[tuple[str, dict[str, Any], dict[str, Any], list[str]]] = [
    ("response", STRING | {"pattern": "^a"}, STRING, ["response-pattern"]),
    ("request", STRING | {"pattern": "^a"}, STRING, []),
    ("response", {"type": "object", "additionalProperties": False}, {"type": "object"},
     ["response-members-added"]),
    ("request", {"type": "object", "additionalProperties": STRING},
     {"type": "object", "additionalProperties": STRING | {"maxLength": 1}}, ["request-bounds"]),
    ("request", {"allOf": [{"type": "object", "properties": {"a": STRING}}], "required": ["a"]},
     {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
     ["request-type"]),
    ("request", {"enum": ["a", "b"]}, {"const": "a"}, ["request-enum"]),
    ("response", {"const": 1}, {"type": "integer", "enum": [1, 2]}, ["response-enum"]),
    ("request", {"type": "string", "default": "a"}, STRING, ["request-default-changed"]),
    ("response", {"type": "string", "default": "a"}, STRING, []),
    ("request", {"x-order": 1}, {"x-order": 2}, []),
    ("request", {}, STRING, ["request-type"]),
    ("response", {}, STRING, []),
    ("request", STRING, {"not": {}}, ["request-schema"]),
]  # fmt: skip


@pytest.mark.parametrize(("direction", "old", "new", "rules"), SCHEMAS)
def test_schemas(direction: Any, old: Any, new: Any, rules: list[str]) -> None:
    found = list(compare(Pair(Side(old, {}), Side(new, {}), direction, "it")))
    assert [rule for rule, _, _ in found] == rules, found


def test_a_schema_that_contains_itself_is_compared_to_its_end() -> None:
    def tree(name: dict[str, Any]) -> dict[str, Any]:
        reference = {"$ref": "#/components/schemas/Tree"}
        members = {"name": name, "below": {"type": "array", "items": reference}}
        schema = {"type": "object", "properties": members}
        return {"components": {"schemas": {"Tree": schema}}}

    reference = {"$ref": "#/components/schemas/Tree"}
    old, new = (Side(reference, tree(name)) for name in (STRING, {"type": "integer"}))
    assert [place for _, place, _ in compare(Pair(old, new, "response", "it"))] == ["Tree.name"]


def _bounded(low: str, high: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.sampled_from([low, high]), st.integers(0, 3), max_size=2)


LEAVES = st.one_of(
    _bounded("minLength", "maxLength").map(lambda bounds: {"type": "string", **bounds}),
    _bounded("minimum", "maximum").map(lambda bounds: {"type": "integer", **bounds}),
    _bounded("minimum", "maximum").map(lambda bounds: {"type": "number", **bounds}),
    st.lists(st.sampled_from(["", "a", "bb"]), min_size=1, unique=True).map(
        lambda values: {"enum": values}
    ),
    st.just(NULL),
)


def _nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.lists(inner, min_size=1, max_size=2).map(lambda each: {"anyOf": each}),
        st.tuples(inner, _bounded("minItems", "maxItems")).map(
            lambda pair: {"type": "array", "items": pair[0], **pair[1]}
        ),
        st.fixed_dictionaries(
            {
                "type": st.just("object"),
                "properties": st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
                "required": st.lists(st.sampled_from("ab"), unique=True),
            },
            optional={"additionalProperties": st.just(False)},
        ),
    )


VALUES = st.recursive(
    st.sampled_from(["", "a", "bb", "cccc", 0, 1, 2, 4, 1.5, None]),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    ),
    max_leaves=4,
)


@settings(max_examples=150, deadline=None)
@given(
    old=st.recursive(LEAVES, _nested, max_leaves=3),
    new=st.recursive(LEAVES, _nested, max_leaves=3),
    values=st.lists(VALUES, min_size=5, max_size=20),
)
def test_no_value_that_was_good_is_refused_without_being_found(
    old: dict[str, Any], new: dict[str, Any], values: list[Any]
) -> None:
    was, is_ = Draft202012Validator(old), Draft202012Validator(new)
    refused = [value for value in values if was.is_valid(value) and not is_.is_valid(value)]
    if refused:
        before, now = Side(old, {}), Side(new, {})
        # A member that is new and optional is no break, though some value of it may be refused:
        # clients did not send it.
        known = {json.dumps(sorted(_names(old))), json.dumps(sorted(_names(old) | _names(new)))}
        if len(known) == 1:
            assert list(compare(Pair(before, now, "request", "it"))), refused
            assert list(compare(Pair(now, before, "response", "it"))), refused


def _names(schema: Any) -> set[str]:
    if isinstance(schema, list):
        return set().union(*(_names(each) for each in schema))
    if not isinstance(schema, dict):
        return set()
    inner = [_names(each) for name, each in schema.items() if name != "enum"]
    return set(schema.get("properties", {})).union(*inner)
