import copy
from typing import Any

import pytest

from devtools.api_collections import collections_of

EXAMPLE = {"title": "A desk", "state": "draft"}


def answer(status: str, *members: str) -> dict[str, Any]:
    schema: dict[str, Any] = {"properties": {name: {} for name in members}}
    return {status: {"content": {"application/json": {"schema": schema}}}}


def body(name: str) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}}


DOCUMENT: dict[str, Any] = {
    "paths": {
        "/api/v1/orders": {
            "post": {
                "summary": "Create an order",
                "parameters": [{"name": "Idempotency-Key", "in": "header"}],
                "requestBody": body("OrderCreate"),
                "responses": answer("201", "id", "title"),
                "security": [{"OAuth2": ["orders:write"]}, {"Bearer": []}],
            },
            "get": {"summary": "List orders", "responses": answer("200", "items", "next_cursor")},
        },
        "/api/v1/orders/{order_id}/lines": {
            "post": {
                "summary": "Create a line",
                "requestBody": body("OrderCreate"),
                "responses": answer("201", "id"),
            },
        },
        "/api/v1/orders/{order_id}": {
            "get": {"summary": "Get an order"},
            "patch": {"summary": "Update an order", "requestBody": body("OrderUpdate")},
            "delete": {"summary": "Delete an order", "security": [{"Bearer": ["admin"]}]},
        },
    },
    "components": {
        "schemas": {
            "OrderCreate": {
                "properties": {
                    "title": {"type": "string", "maxLength": 20},
                    "state": {"anyOf": [{"$ref": "#/components/schemas/State"}, {"type": "null"}]},
                },
                "examples": [EXAMPLE],
            },
            "OrderUpdate": {"examples": [{"title": "Two desks"}]},
            "State": {"type": "string", "enum": ["draft", "sent"]},
        }
    },
}


def test_a_collection_is_what_an_account_can_add_to() -> None:
    (orders,) = collections_of(DOCUMENT)
    assert (orders.path, orders.name, orders.is_repeatable) == ("/api/v1/orders", "orders", True)
    assert (orders.create.title, orders.create.example) == ("Create an order", EXAMPLE)
    assert {name: each.title for name, each in orders.further.items()} == {
        "list": "List orders",
        "read": "Get an order",
        "change": "Update an order",
    }
    assert orders.further["change"].example == {"title": "Two desks"}


def test_members_are_told_by_their_own_schemas() -> None:
    (orders,) = collections_of(DOCUMENT)
    assert orders.create.members == {
        "title": {"type": "string", "maxLength": 20},
        "state": {"type": "string", "enum": ["draft", "sent"]},
    }


@pytest.mark.parametrize(
    ("lacking", "change"),
    [
        ("example", lambda post: post.update(requestBody=body("State"))),
        ("id", lambda post: post.update(responses=answer("201", "title"))),
        ("201", lambda post: post.update(responses=answer("202", "id"))),
        ("no role", lambda post: post.update(security=[{"Bearer": ["admin"]}])),
    ],
)
def test_what_cannot_be_filled_is_none(lacking: str, change: Any) -> None:
    document = copy.deepcopy(DOCUMENT)
    change(document["paths"]["/api/v1/orders"]["post"])
    assert list(collections_of(document)) == []


def test_a_list_that_has_no_pages_is_not_read() -> None:
    document = copy.deepcopy(DOCUMENT)
    document["paths"]["/api/v1/orders"]["get"]["responses"] = answer("200", "orders")
    (orders,) = collections_of(document)
    assert "list" not in orders.further
