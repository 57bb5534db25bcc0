"""Handlers: one for each event type and version."""

import pytest
from shop.orders import OrderChanged, OrderPaid

from service_platform.events import Event, Handlers, Message
from service_platform.events.cloudevents import (
    CloudEvent,
    EventDecodeError,
    decode_cloudevent,
    encode_cloudevent,
    new_cloudevent,
)
from service_platform.ids import new_id

ORDER = new_id()


def cloudevent_of(event: Event) -> CloudEvent:
    return decode_cloudevent(encode_cloudevent(new_cloudevent(event), source="shop", sequence=1))


async def test_an_event_is_decoded_and_given_to_its_handler() -> None:
    handlers = Handlers()
    seen: list[Event] = []

    @handlers.on(OrderChanged, OrderPaid)
    async def collect(_: object, message: Message[Event]) -> None:
        seen.append(message.event)

    events = [OrderChanged(order_id=ORDER, state="sent"), OrderPaid(order_id=ORDER, amount=5)]
    for event in events:
        message = handlers.decode(cloudevent_of(event))
        await handlers.call(None, message)  # type: ignore[arg-type]  # the handler uses none
    assert seen == events


def test_an_event_type_without_a_handler_is_not_consumed() -> None:
    handlers = Handlers()
    assert not handlers.has_handler(cloudevent_of(OrderPaid(order_id=ORDER, amount=1)))


def test_a_version_without_a_handler_is_refused() -> None:
    attributes = new_cloudevent(OrderChanged(order_id=ORDER, state="sent"))
    attributes["dataschema"] = "urn:events:order.changed:2"
    cloudevent = decode_cloudevent(encode_cloudevent(attributes, source="shop", sequence=1))
    handlers = Handlers()

    @handlers.on(OrderChanged)
    async def keep(*_: object) -> None: ...

    assert handlers.has_handler(cloudevent)
    with pytest.raises(EventDecodeError, match=r"order\.changed:2 is not known"):
        handlers.decode(cloudevent)


def test_an_event_type_has_one_handler() -> None:
    handlers = Handlers()

    @handlers.on(OrderPaid)
    async def first(*_: object) -> None: ...

    with pytest.raises(ValueError, match="has a handler already"):
        handlers.on(OrderPaid)(first)
