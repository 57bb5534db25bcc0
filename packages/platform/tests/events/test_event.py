"""Events as CloudEvents."""

from datetime import UTC, datetime
from uuid import UUID

import orjson
import pytest
from shop.orders import OrderChanged, OrderPaid

from service_platform.context import RequestContext, current
from service_platform.events.event import (
    UnreadableEventError,
    attributes_of,
    decode_envelope,
    encode,
    message_of,
)
from service_platform.events.handlers import Handlers
from service_platform.ids import new_id
from service_platform.settings import PlatformSettings

ORDER = UUID("01890000-0000-7000-8000-000000000001")


def travelled(event: OrderChanged) -> bytes:
    return encode(attributes_of(event), source="shop", sequence=7)


def test_an_event_travels_as_a_cloudevent() -> None:
    before = datetime.now(UTC)
    told = orjson.loads(travelled(OrderChanged(order_id=ORDER, state="sent")))
    assert told["specversion"] == "1.0"
    assert UUID(told["id"]).version == 7
    assert told["source"] == "shop"
    assert told["type"] == "order.changed"
    assert told["subject"] == str(ORDER)
    assert before <= datetime.fromisoformat(told["time"]) <= datetime.now(UTC)
    assert told["datacontenttype"] == "application/json"
    assert told["dataschema"] == "urn:events:order.changed:1"
    assert told["data"] == {"order_id": str(ORDER), "state": "sent"}


def test_the_order_of_sequences_is_the_order_of_their_texts() -> None:
    attributes = attributes_of(OrderChanged(order_id=ORDER, state="sent"))
    texts = [
        orjson.loads(encode(attributes, source="shop", sequence=number))["sequence"]
        for number in (9, 10, 2**53)
    ]
    assert texts == sorted(texts)
    assert [int(each) for each in texts] == [9, 10, 2**53]


def test_a_message_is_what_was_published() -> None:
    event = OrderChanged(order_id=ORDER, state="sent")
    message = message_of(decode_envelope(travelled(event)), OrderChanged)
    assert message.event == event
    assert (message.source, message.sequence) == ("shop", 7)


def test_an_event_carries_request_and_trace_it_comes_from() -> None:
    trace = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    context = RequestContext(
        {"type": "http"},
        {b"x-request-id": b"order-1", b"traceparent": trace},
        settings=PlatformSettings(_env_file=None),
    )
    token = current.set(context)
    try:
        content = travelled(OrderChanged(order_id=ORDER, state="sent"))
    finally:
        current.reset(token)
    message = message_of(decode_envelope(content), OrderChanged)
    assert message.request_id == "order-1"
    assert message.trace_id == "4bf92f3577b34da6a3ce929d0e0e4736"


def test_fields_of_a_newer_release_are_passed_over() -> None:
    attributes = attributes_of(OrderChanged(order_id=ORDER, state="sent"))
    attributes["data"]["colour"] = "red"
    attributes["partitionkey"] = "7"
    content = encode(attributes, source="shop", sequence=1)
    assert message_of(decode_envelope(content), OrderChanged).event.state == "sent"


def test_another_version_is_not_taken_for_this_one() -> None:
    attributes = attributes_of(OrderChanged(order_id=ORDER, state="sent"))
    attributes["dataschema"] = "urn:events:order.changed:2"
    envelope = decode_envelope(encode(attributes, source="shop", sequence=1))
    handlers = Handlers()

    @handlers.on(OrderChanged)
    async def keep(*_: object) -> None: ...

    assert handlers.listens_to(envelope)
    with pytest.raises(UnreadableEventError, match=r"order\.changed:2 is not known"):
        handlers.read(envelope)


@pytest.mark.parametrize(
    "content",
    [b"", b"no json", b"[]", b"{}", b'{"specversion":"0.3"}', b"\xff\xfe", b'"secret"'],
)
def test_what_is_no_cloudevent_is_told_without_its_content(content: bytes) -> None:
    with pytest.raises(UnreadableEventError) as caught:
        decode_envelope(content)
    assert "secret" not in str(caught.value)


def test_data_of_another_form_is_told_without_its_values() -> None:
    attributes = attributes_of(OrderChanged(order_id=ORDER, state="sent"))
    attributes["data"] = {"order_id": "a secret"}
    envelope = decode_envelope(encode(attributes, source="shop", sequence=1))
    with pytest.raises(UnreadableEventError, match="state: missing") as caught:
        message_of(envelope, OrderChanged)
    assert "a secret" not in str(caught.value)


def test_a_kind_of_event_has_one_handler() -> None:
    handlers = Handlers()

    @handlers.on(OrderPaid)
    async def first(*_: object) -> None: ...

    with pytest.raises(ValueError, match="has a handler already"):
        handlers.on(OrderPaid)(first)


def test_identifiers_of_events_are_new_each_time() -> None:
    event = OrderPaid(order_id=new_id(), amount=1)
    assert attributes_of(event)["id"] != attributes_of(event)["id"]
