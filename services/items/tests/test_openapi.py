"""The OpenAPI document of items; what holds for every service is in `tests/docs`."""

from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from items.app import create_app
from items.settings import ItemsSettings


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return create_app(ItemsSettings(environment="test")).openapi()


def test_operation_ids_stay(document: dict[str, Any]) -> None:
    ids = {
        each["operationId"] for methods in document["paths"].values() for each in methods.values()
    }
    assert ids == {
        "create_item", "list_items", "read_item", "update_item", "delete_item",
        "create_export", "download_export", "read_job", "list_jobs", "retry_job", "drop_job",
        "create_webhook", "list_webhooks", "read_webhook", "update_webhook", "delete_webhook",
        "rotate_webhook_secret", "test_webhook", "replay_webhook_deliveries",
        "list_webhook_deliveries", "read_webhook_delivery", "replay_webhook_delivery",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["ItemCreate", "ItemUpdate"])
def test_a_price_has_bounds(document: dict[str, Any], name: str) -> None:
    schema = document["components"]["schemas"][name]["properties"]["price"]
    price = Draft202012Validator(schema)
    valid: list[Any] = [0, 19.99, 9_999_999_999.99, "19.99", None]
    invalid: list[Any] = [-0.01, -3e155, 1e10, "1_000", "\u0661", "-1", "1.999", True, [1]]
    assert [value for value in valid if not price.is_valid(value)] == []
    assert [value for value in invalid if price.is_valid(value)] == []
