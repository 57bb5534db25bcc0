"""The OpenAPI document of every service: valid, in JSON Schema's own words, complete."""

import json
import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from openapi_spec_validator import OpenAPIV31SpecValidator

import auth.app
import items.app
import users.app
from auth.settings import AuthSettings
from items.settings import ItemsSettings
from users.settings import UsersSettings

MAKE: dict[str, Callable[[], Any]] = {
    "auth": lambda: auth.app.create_app(AuthSettings(environment="test")),
    "items": lambda: items.app.create_app(ItemsSettings(environment="test")),
    "users": lambda: users.app.create_app(UsersSettings(environment="test")),
}
OPERATION_IDS = {
    "auth": {
        "register", "read_own_account", "erase_own_account", "change_password", "list_sessions",
        "end_every_session", "end_session", "list_accounts", "administer_account", "issue_token",
        "revoke_token", "introspect_token", "list_audit_events", "read_metadata", "read_key_set",
    },
    "items": {
        "create_item", "list_items", "read_item", "update_item", "delete_item",
        "create_export", "download_export", "read_job", "list_jobs", "retry_job", "drop_job",
        "create_webhook", "list_webhooks", "read_webhook", "update_webhook", "delete_webhook",
        "rotate_webhook_secret", "test_webhook", "replay_webhook_deliveries",
        "list_webhook_deliveries", "read_webhook_delivery", "replay_webhook_delivery",
    },
    "users": {"read_own_profile", "update_own_profile", "list_profiles", "read_profile"},
}  # fmt: skip
PROBLEM = "application/problem+json"
OPENAPI_WORDS = {"discriminator", "xml", "externalDocs", "example"}
"""Words that OpenAPI 3.1 adds to JSON Schema (section 4.8.24)."""

every_service = pytest.mark.parametrize("service", sorted(MAKE))


@cache
def document_of(service: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(json.dumps(MAKE[service]().openapi()))
    return document


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def vocabulary() -> set[str]:
    """The keywords of JSON Schema 2020-12, from its meta-schemas."""
    words: set[str] = set(OPENAPI_WORDS)
    registry = Draft202012Validator({})._resolver
    for part in Draft202012Validator.META_SCHEMA["allOf"]:
        resolved = registry.lookup(f"https://json-schema.org/draft/2020-12/{part['$ref']}")
        words |= set(resolved.contents["properties"])
    return words


def schemas_in(node: Any) -> Iterator[dict[str, Any]]:
    """Every JSON Schema of a document, at any depth."""
    if isinstance(node, list):
        for each in node:
            yield from schemas_in(each)
    elif isinstance(node, dict):
        for name, each in node.items():
            if name == "schema":
                yield from subschemas_of(each)
            elif name == "schemas":
                for schema in each.values():
                    yield from subschemas_of(schema)
            elif name not in {"example", "examples"}:
                yield from schemas_in(each)


def subschemas_of(schema: Any) -> Iterator[dict[str, Any]]:
    """A schema and every one in it."""
    if isinstance(schema, list):
        for each in schema:
            yield from subschemas_of(each)
    elif isinstance(schema, dict):
        yield schema
        for name in ("items", "additionalProperties", "not", "anyOf", "allOf", "oneOf"):
            yield from subschemas_of(schema.get(name))
        for each in schema.get("properties", {}).values():
            yield from subschemas_of(each)


@every_service
def test_the_document_is_valid(service: str) -> None:
    errors = [
        error.message for error in OpenAPIV31SpecValidator(document_of(service)).iter_errors()
    ]
    assert errors == []


@every_service
def test_schemas_use_the_words_of_json_schema(service: str) -> None:
    known = vocabulary()
    assert {"minimum", "pattern", "$ref", "properties"} <= known
    words = {word for schema in schemas_in(document_of(service)) for word in schema}
    # OpenAPI 3.1, section 4.9: extensions.
    assert {word for word in words - known if not word.startswith("x-")} == set()
    for schema in schemas_in(document_of(service)):
        Draft202012Validator.check_schema(schema)


@every_service
def test_examples_are_what_their_schema_allows(service: str) -> None:
    document = document_of(service)
    components = {"components": document["components"]}
    for schema in schemas_in(document):
        for example in schema.get("examples", []):
            Draft202012Validator(schema | components).validate(example)
    for name, operation in operations(document):
        for answer in operation["responses"].values():
            for content in answer.get("content", {}).values():
                validator = Draft202012Validator(content["schema"] | components)
                for example in content.get("examples", {}).values():
                    validator.validate(example["value"])
        for parameter in operation.get("parameters", []):
            validator = Draft202012Validator(parameter["schema"] | components)
            examples = [each["value"] for each in parameter.get("examples", {}).values()]
            for example in [*examples, *([parameter["example"]] if "example" in parameter else [])]:
                assert validator.is_valid(example), (name, parameter["name"], example)


@every_service
def test_operation_ids_are_good_method_names_and_stay(service: str) -> None:
    ids = {operation["operationId"] for _, operation in operations(document_of(service))}
    assert ids == OPERATION_IDS[service]
    assert all(re.fullmatch("[a-z]+(_[a-z]+)*", each) for each in ids)


@every_service
def test_every_operation_and_schema_is_described(service: str) -> None:
    document = document_of(service)
    for name, operation in operations(document):
        assert operation["summary"], name
        assert operation["description"], name
        for parameter in operation.get("parameters", []):
            if parameter["in"] != "path":
                assert parameter.get("description"), (name, parameter["name"])
    for name, schema in document["components"]["schemas"].items():
        assert re.fullmatch("[A-Z][A-Za-z]*", name), name
        assert schema.get("description"), name


@every_service
def test_every_operation_tells_the_errors_it_can_answer(service: str) -> None:
    document = document_of(service)
    for name, operation in operations(document):
        expected = {"400", "429", "500", "503", "504"}
        if operation.get("security"):
            expected |= {"401"}
        if any(names for scheme in operation.get("security", []) for names in scheme.values()):
            expected |= {"403"}
        json_body = "application/json" in operation.get("requestBody", {}).get("content", {})
        if json_body:
            expected |= {"413", "415", "422"}
        headers = {each["name"] for each in operation.get("parameters", [])}
        if "If-Match" in headers:
            expected |= {"412"}
        if "idempotency-key" in {each.lower() for each in headers}:
            expected |= {"409", "422"}
        assert expected <= set(operation["responses"]), name


@every_service
def test_every_error_shows_an_example_of_its_own(service: str) -> None:
    for name, operation in operations(document_of(service)):
        for status, answer in operation["responses"].items():
            examples = answer.get("content", {}).get(PROBLEM, {}).get("examples")
            if PROBLEM not in answer.get("content", {}):
                continue
            assert examples, (name, status)
            for code, example in examples.items():
                value = example["value"]
                assert value["status"] == int(status)
                assert value["error"] == code
                if set(answer["content"]) == {PROBLEM}:
                    assert value["detail"] in answer["description"]


@every_service
def test_parameters_are_never_null(service: str) -> None:
    for name, operation in operations(document_of(service)):
        for parameter in operation.get("parameters", []):
            assert '"null"' not in json.dumps(parameter["schema"]), (name, parameter["name"])


@every_service
def test_text_and_numbers_of_requests_have_bounds(service: str) -> None:
    document = document_of(service)
    schemas = document["components"]["schemas"]
    for name, operation in operations(document):
        content = operation.get("requestBody", {}).get("content", {})
        bodies = [each["schema"] for kind, each in content.items() if kind == "application/json"]
        bodies = [
            schemas[each["$ref"].rpartition("/")[2]] if "$ref" in each else each for each in bodies
        ]
        parameters = [each["schema"] for each in operation.get("parameters", [])]
        for schema in subschemas_of([*bodies, *parameters]):
            kind = schema.get("type")
            assert kind or {"$ref", "anyOf"} & set(schema), (name, schema)
            if kind == "string" and not {"enum", "const"} & set(schema):
                known_format = schema.get("format") in {"uuid", "date-time"}
                assert known_format or {"maxLength", "pattern"} & set(schema), (name, schema)
            if kind in {"number", "integer"}:
                assert {"minimum", "maximum"} <= set(schema), (name, schema)
            if kind == "array":
                assert "maxItems" in schema, (name, schema)


@pytest.mark.parametrize("name", ["ItemCreate", "ItemUpdate"])
def test_a_price_has_bounds(name: str) -> None:
    schema = document_of("items")["components"]["schemas"][name]["properties"]["price"]
    price = Draft202012Validator(schema)
    valid: list[Any] = [0, 19.99, 9_999_999_999.99, "19.99", None]
    invalid: list[Any] = [-0.01, -3e155, 1e10, "1_000", "\u0661", "-1", "1.999", True, [1]]
    assert [value for value in valid if not price.is_valid(value)] == []
    assert [value for value in invalid if price.is_valid(value)] == []


@every_service
def test_no_schema_has_null_as_default(service: str) -> None:
    # A generator of clients takes a member that has a default for one that is always there.
    for schema in schemas_in(document_of(service)):
        assert schema.get("default", 0) is not None, schema


def test_a_change_has_no_defaults_which_a_generated_client_would_send() -> None:
    schemas = document_of("items")["components"]["schemas"]
    assert "required" not in schemas["ItemUpdate"]
    assert all("default" not in each for each in schemas["ItemUpdate"]["properties"].values())
