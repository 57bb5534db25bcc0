"""Metrics of events: names that dashboards and alerts use, set by relay and consumer."""

from typing import Any

import pytest
from prometheus_client import REGISTRY
from shop.orders import OrderChanged
from shop.watching import until

from service_platform.database import Database
from service_platform.events import consumer as consumer_module
from service_platform.events import publish
from service_platform.events import relay as relay_module
from service_platform.ids import new_id


@pytest.fixture(autouse=True)
def measure_often(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (relay_module, consumer_module):
        monkeypatch.setattr(module, "METRICS_SECONDS", 0.05)


def value(name: str, **labels: str) -> float:
    """A sample of this metric alone: these are read again and again, beside those of all tests."""
    for metric in REGISTRY.restricted_registry([name]).collect():
        for sample in metric.samples:
            if (sample.name, sample.labels) == (name, labels):
                return sample.value
    return 0.0


async def change(database: Database, *states: str) -> None:
    async with database.session() as session:
        for state in states:
            await publish(session, OrderChanged(order_id=new_id(), state=state))
        await session.commit()


async def test_the_relay_measures_outbox_and_stream(
    database: Database, redis: Any, relay: Any
) -> None:
    relayed = value("events_relayed_total", stream="shop")
    lost = value("events_relayed_again_total", stream="shop")
    await change(database, "sent", "paid")
    async with relay():

        async def measured() -> bool:
            return (
                value("events_relayed_total", stream="shop") == relayed + 2
                and value("events_stream_entries", stream="shop") == 2
                and value("events_outbox_pending", stream="shop") == 0
                and value("events_outbox_oldest_seconds", stream="shop") == 0
            )

        await until(measured)
        await redis.flushdb()

        async def measured_again() -> bool:
            return value("events_relayed_again_total", stream="shop") == lost + 2

        await until(measured_again)


async def test_the_consumer_measures_what_it_applies_and_gives_up(
    database: Database,
    relay: Any,
    consumer: Any,
    recorder: Any,
) -> None:
    recorder.broken = {"poison"}
    group = {"stream": "shop", "group": "office"}
    kind = {"stream": "shop", "type": "order.changed"}
    applied = value("events_handled_total", **kind, outcome="applied")
    failures = value("events_failures_total", **kind)
    delays = value("events_delay_seconds_count", stream="shop")
    await change(database, "poison", "sent")
    # On a busy machine an entry claimed again while it is handled would be counted twice.
    async with relay(), consumer(events_claim_seconds=60):

        async def measured() -> bool:
            return (
                value("events_handled_total", **kind, outcome="applied") == applied + 1
                and value("events_failures_total", **kind) == failures + 3
                and value("events_delay_seconds_count", stream="shop") == delays + 1
                and value("events_dead_letters", **group) == 1
                and value("events_consumer_pending", **group) == 0
                and value("events_consumer_lag_seconds", **group) == 0
            )

        await until(measured)
