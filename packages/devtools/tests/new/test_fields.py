"""Fields as they are written on a command line, and what is known of their types."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from pydantic import StrictBool, TypeAdapter, ValidationError

from devtools.errors import UsageError
from devtools.new.fields import KINDS, read_field, read_fields
from service_platform.numbers import Amount, WholeNumber
from service_platform.text import OneLine, Prose, Tags
from service_platform.times import Day, Moment

ACCEPTED: dict[str, Any] = {
    "Line": OneLine,
    "Text": Prose,
    "WholeNumber": WholeNumber,
    "Amount": Amount,
    "StrictBool": StrictBool,
    "Day": Day,
    "Moment": Moment,
    "UUID": UUID,
    "Tags": Tags,
}
BOUNDED_BY_THE_SERVICE = {"Line", "Text"}
PYTHON = {"Decimal": Decimal, "date": date, "datetime": datetime, "UUID": UUID}


def test_a_field_has_a_type_and_may_be_null() -> None:
    field = read_field("due:date?")
    assert (field.name, field.kind, field.optional) == ("due", KINDS["date"], True)
    assert (field.required, field.order_column) == (False, "due_order")
    assert read_field("due:date").order_column == "due"


def test_an_enumeration_has_a_class_named_after_entity_and_field() -> None:
    field = read_field("order_status:draft|in_transit|paid?")
    assert field.choices == ("draft", "in_transit", "paid")
    assert (field.optional, field.accepted("Order")) == (True, "OrderOrderStatus")
    assert field.condition == "order_status IN ('draft', 'in_transit', 'paid')"


@pytest.mark.parametrize(
    ("text", "description"),
    [
        ("title:str", "The title of the order."),
        ("due:date", "The due date of the order."),
        ("due_date:date", "The due date of the order."),
        ("sent_at:datetime", "When it was sent."),
        ("customer_id:UUID", "The `id` of its customer."),
        ("is_paid:bool", "Whether it is paid."),
        ("has_gift:bool", "Whether it has gift."),
        ("total:Decimal", "The total of the order, with at most two decimals."),
    ],
)
def test_a_field_is_described(text: str, description: str) -> None:
    assert read_field(text).description("order") == description


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("title", "has no type: write it as title:str"),
        ("title:", "has no type"),
        ("title:?", "has no type"),
        ("title:string", "There is no type string; did you mean str"),
        ("title:str:x", "There is no type str:x"),
        ("status:draft|", "cannot have the value ''"),
        ("status:draft|Sent", "cannot have the value 'Sent'"),
        ("status:draft|draft", "two or more, each once"),
        ("tags:list[str]?", "omit the"),
        ("id:int", "has such a column"),
    ],
)
def test_what_cannot_be_read_is_told(text: str, words: str) -> None:
    with pytest.raises(UsageError) as refused:
        read_field(text)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["a:str", "b:int", "a:int"], "two fields named a"),
        (["tags:list[str]"], "A list of words is not enough"),
    ],
)
def test_what_does_not_go_together_is_told(texts: list[str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        read_fields(texts)


@pytest.mark.parametrize("kind", KINDS)
def test_values_are_what_the_type_accepts_in_the_order_of_sorting(kind: str) -> None:
    known = KINDS[kind]
    adapter: TypeAdapter[Any] = TypeAdapter(ACCEPTED[known.accepted])
    accepted = [adapter.validate_python(value) for value in known.values]
    if known.is_sorted:
        assert accepted == sorted(set(accepted))
    for value in known.refused:
        if known.accepted in BOUNDED_BY_THE_SERVICE and value in {"", "  ", *_long(known.refused)}:
            continue
        with pytest.raises(ValidationError):
            adapter.validate_python(value)


def _long(values: tuple[Any, ...]) -> set[str]:
    return {value for value in values if isinstance(value, str) and len(value) > 200}
