"""Each event has its effect once, and an older state never replaces a newer one."""

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
import structlog
from shop.orders import OrderChanged, OrderPaid
from shop.watching import rows
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from service_platform.database import Database
from service_platform.events import Event, Handlers, Message, inbox
from service_platform.events.inbox import Outcome
from service_platform.ids import new_id

ORDER = new_id()


def message(event: Event, sequence: int, event_id: UUID | None = None) -> Message[Event]:
    return Message(
        id=event_id or new_id(),
        source="shop",
        sequence=sequence,
        time=datetime.now(UTC),
        request_id="r-1",
        traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        event=event,
    )


def state(text: str, sequence: int) -> Message[Event]:
    return message(OrderChanged(order_id=ORDER, state=text), sequence)


async def apply(database: Database, recorder: Any, *messages: Message[Event]) -> list[Outcome]:
    async with database.session() as session:
        outcomes = await inbox.apply(session, "shop", messages, recorder.handlers)
        await session.commit()
        return outcomes


async def applied(database: Database) -> list[str]:
    return await rows(database, "SELECT what FROM applied ORDER BY n")


async def test_an_event_that_comes_again_has_no_second_effect(
    database: Database, recorder: Any
) -> None:
    paid = message(OrderPaid(order_id=ORDER, amount=5), 1)
    assert await apply(database, recorder, paid) == [Outcome.APPLIED]
    assert await apply(database, recorder, paid) == [Outcome.DUPLICATE]
    assert await applied(database) == ["5"]


async def test_an_event_twice_in_one_batch_has_one_effect(
    database: Database, recorder: Any
) -> None:
    paid = message(OrderPaid(order_id=ORDER, amount=5), 1)
    assert await apply(database, recorder, paid, paid) == [Outcome.APPLIED, Outcome.DUPLICATE]
    assert await applied(database) == ["5"]


async def test_an_event_applied_by_two_replicas_at_once_has_one_effect(
    database: Database, recorder: Any
) -> None:
    paid = message(OrderPaid(order_id=ORDER, amount=5), 1)
    outcomes = await asyncio.gather(*[apply(database, recorder, paid) for _ in range(8)])
    assert sorted(each for [each] in outcomes) == [Outcome.APPLIED] + [Outcome.DUPLICATE] * 7
    assert await applied(database) == ["5"]


async def test_an_older_state_is_superseded(database: Database, recorder: Any) -> None:
    assert await apply(database, recorder, state("closed", 9)) == [Outcome.APPLIED]
    assert await apply(database, recorder, state("sent", 3)) == [Outcome.SUPERSEDED]
    assert await applied(database) == ["closed"]


async def test_an_older_state_is_superseded_within_a_batch(
    database: Database, recorder: Any
) -> None:
    batch = [state("a", 1), state("c", 3), state("b", 2), state("d", 4)]
    outcomes = await apply(database, recorder, *batch)
    assert outcomes == [Outcome.APPLIED, Outcome.APPLIED, Outcome.SUPERSEDED, Outcome.APPLIED]
    assert await applied(database) == ["a", "c", "d"]


async def test_states_applied_at_once_by_many_replicas_end_with_the_newest(
    database: Database, recorder: Any
) -> None:
    await asyncio.gather(*[apply(database, recorder, state(str(n), n)) for n in range(1, 21)])
    order = [int(each) for each in await applied(database)]
    assert order == sorted(order)
    assert order[-1] == 20


async def test_events_that_count_are_applied_in_whatever_order(
    database: Database, recorder: Any
) -> None:
    for sequence in (5, 2, 9):
        paid = message(OrderPaid(order_id=ORDER, amount=sequence), sequence)
        assert await apply(database, recorder, paid) == [Outcome.APPLIED]
    assert await applied(database) == ["5", "2", "9"]


async def test_nothing_of_a_failed_batch_stays(database: Database, recorder: Any) -> None:
    recorder.broken = {"b"}
    batch = [state("a", 1), state("b", 2)]
    with pytest.raises(ValueError):
        await apply(database, recorder, *batch)
    recorder.broken = set()
    assert await apply(database, recorder, *batch) == [Outcome.APPLIED, Outcome.APPLIED]
    assert await applied(database) == ["a", "b"]


async def test_a_handlers_log_lines_belong_to_the_request_behind_the_event(
    database: Database,
) -> None:
    seen: dict[str, Any] = {}
    handlers = Handlers()

    @handlers.on(OrderChanged)
    async def look(_: AsyncSession, message: Message[OrderChanged]) -> None:
        seen.update(structlog.contextvars.get_contextvars())

    async with database.session() as session:
        await inbox.apply(session, "shop", [state("a", 1)], handlers)
    assert seen["request_id"] == "r-1"
    assert seen["trace_id"] == "4bf92f3577b34da6a3ce929d0e0e4736"


async def test_rows_of_long_ago_are_forgotten_and_positions_are_not(
    database: Database, recorder: Any
) -> None:
    await apply(database, recorder, state("closed", 9))
    async with database.session() as session:
        await session.execute(text("UPDATE inbox SET applied_at = now() - interval '31 days'"))
        await session.execute(text("INSERT INTO inbox (event_id) VALUES (gen_random_uuid())"))
        assert await inbox.delete_older_than(session, 30.0, 100) == 1
        await session.commit()
    assert await rows(database, "SELECT count(*) FROM inbox") == [1]
    assert await apply(database, recorder, state("sent", 3)) == [Outcome.SUPERSEDED]
