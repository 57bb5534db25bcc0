"""CloudEvents: what is encoded for the stream and decoded by consumers."""

from datetime import UTC, datetime
from uuid import UUID

import orjson
import pytest
from shop.orders import OrderChanged, OrderPaid

from service_platform.context import RequestContext, current
from service_platform.events.cloudevents import (
    EventDecodeError,
    decode_cloudevent,
    decode_message,
    encode_cloudevent,
    new_cloudevent,
)
from service_platform.ids import new_id
from service_platform.settings import PlatformSettings

ORDER = UUID("01890000-0000-7000-8000-000000000001")


def encoded(event: OrderChanged) -> bytes:
    return encode_cloudevent(new_cloudevent(event), source="shop", sequence=7)


def test_an_event_is_encoded_as_a_cloudevent() -> None:
    before = datetime.now(UTC)
    decoded = orjson.loads(encoded(OrderChanged(order_id=ORDER, state="sent")))
    assert decoded["specversion"] == "1.0"
    assert UUID(decoded["id"]).version == 7
    assert decoded["source"] == "shop"
    assert decoded["type"] == "order.changed"
    assert decoded["subject"] == str(ORDER)
    assert before <= datetime.fromisoformat(decoded["time"]) <= datetime.now(UTC)
    assert decoded["datacontenttype"] == "application/json"
    assert decoded["dataschema"] == "urn:events:order.changed:1"
    assert decoded["data"] == {"order_id": str(ORDER), "state": "sent"}


def test_the_order_of_sequences_is_the_order_of_their_texts() -> None:
    attributes = new_cloudevent(OrderChanged(order_id=ORDER, state="sent"))
    texts = [
        orjson.loads(encode_cloudevent(attributes, source="shop", sequence=number))["sequence"]
        for number in (9, 10, 2**53)
    ]
    assert texts == sorted(texts)
    assert [int(each) for each in texts] == [9, 10, 2**53]


def test_a_message_has_the_event_that_was_published() -> None:
    event = OrderChanged(order_id=ORDER, state="sent")
    message = decode_message(decode_cloudevent(encoded(event)), OrderChanged)
    assert message.event == event
    assert (message.source, message.sequence) == ("shop", 7)


def test_an_event_has_the_request_id_and_trace_of_its_request() -> None:
    trace = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    context = RequestContext(
        {"type": "http"},
        {b"x-request-id": b"order-1", b"traceparent": trace},
        settings=PlatformSettings(_env_file=None),
    )
    token = current.set(context)
    try:
        content = encoded(OrderChanged(order_id=ORDER, state="sent"))
    finally:
        current.reset(token)
    message = decode_message(decode_cloudevent(content), OrderChanged)
    assert message.request_id == "order-1"
    assert message.trace_id == "4bf92f3577b34da6a3ce929d0e0e4736"


def test_fields_of_a_newer_release_are_ignored() -> None:
    attributes = new_cloudevent(OrderChanged(order_id=ORDER, state="sent"))
    attributes["data"]["colour"] = "red"
    attributes["partitionkey"] = "7"
    content = encode_cloudevent(attributes, source="shop", sequence=1)
    assert decode_message(decode_cloudevent(content), OrderChanged).event.state == "sent"


@pytest.mark.parametrize(
    "content",
    [b"", b"no json", b"[]", b"{}", b'{"specversion":"0.3"}', b"\xff\xfe", b'"secret"'],
)
def test_an_error_of_decoding_does_not_show_the_content(content: bytes) -> None:
    with pytest.raises(EventDecodeError) as caught:
        decode_cloudevent(content)
    assert "secret" not in str(caught.value)


def test_an_error_of_decoding_data_does_not_show_its_values() -> None:
    attributes = new_cloudevent(OrderChanged(order_id=ORDER, state="sent"))
    attributes["data"] = {"order_id": "a secret"}
    cloudevent = decode_cloudevent(encode_cloudevent(attributes, source="shop", sequence=1))
    with pytest.raises(EventDecodeError, match="state: missing") as caught:
        decode_message(cloudevent, OrderChanged)
    assert "a secret" not in str(caught.value)


def test_each_cloudevent_has_an_id_of_its_own() -> None:
    event = OrderPaid(order_id=new_id(), amount=1)
    assert new_cloudevent(event)["id"] != new_cloudevent(event)["id"]
