"""Events and the messages in which handlers receive them."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import ClassVar

import pytest
from pydantic import ValidationError
from shop.orders import OrderChanged

from service_platform.events import Message
from service_platform.ids import new_id

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


class OrderChangedTwice(OrderChanged):
    version: ClassVar[int] = 2


def test_the_schema_names_type_and_version() -> None:
    assert OrderChanged.dataschema() == "urn:events:order.changed:1"
    assert OrderChangedTwice.dataschema() == "urn:events:order.changed:2"


def test_an_event_cannot_be_changed() -> None:
    event = OrderChanged(order_id=new_id(), state="sent")
    with pytest.raises(ValidationError, match="frozen"):
        setattr(event, "state", "paid")  # noqa: B010 - mypy knows that it is frozen


def test_a_message_has_the_trace_of_the_request() -> None:
    message = Message(
        id=new_id(),
        source="shop",
        sequence=1,
        time=datetime.now(UTC),
        request_id=None,
        traceparent=f"00-{TRACE}-00f067aa0ba902b7-01",
        event=OrderChanged(order_id=new_id(), state="sent"),
    )
    assert message.trace_id == TRACE
    assert replace(message, traceparent=None).trace_id is None
