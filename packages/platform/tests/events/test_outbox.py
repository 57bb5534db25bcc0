"""The outbox: events are written in the transaction of the change they report."""

import asyncio
import time
from datetime import timedelta
from uuid import UUID

import pytest
from shop.orders import OrderChanged
from shop.watching import rows
from sqlalchemy import text

from service_platform.database import Database
from service_platform.events import outbox, publish
from service_platform.ids import new_id

ORDER = new_id()


def order(state: str, order_id: UUID = ORDER) -> OrderChanged:
    return OrderChanged(order_id=order_id, state=state)


async def states(database: Database) -> list[str]:
    return await rows(database, "SELECT event->'data'->>'state' FROM outbox ORDER BY id")


async def test_an_event_is_there_if_the_change_is(database: Database) -> None:
    async with database.session() as session:
        await publish(session, order("kept"))
        await session.commit()
    async with database.session() as session:
        await publish(session, order("lost"))
        await session.rollback()
    assert await states(database) == ["kept"]


async def test_redis_plays_no_part_in_publishing(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    async with database.session() as session:
        await publish(session, order("paid"))
        await session.commit()
    assert await states(database) == ["paid"]


async def test_of_two_transactions_on_one_subject_the_later_one_has_the_greater_number(
    database: Database,
) -> None:
    async with database.session() as first, database.session() as second:
        await publish(first, order("first"))
        later = asyncio.create_task(publish(second, order("second")))
        await asyncio.wait([later], timeout=0.2)
        assert not later.done(), "the second must wait until the first has ended"
        await first.commit()
        await later
        await second.commit()
    assert await states(database) == ["first", "second"]


async def test_transactions_on_different_subjects_do_not_wait_for_each_other(
    database: Database,
) -> None:
    async with database.session() as first, database.session() as second:
        await publish(first, order("first"))
        async with asyncio.timeout(10):
            await publish(second, order("second", new_id()))
            await second.commit()
        await first.commit()
    assert sorted(await states(database)) == ["first", "second"]


async def test_numbers_go_on_from_the_clock_after_a_restored_backup(database: Database) -> None:
    """They must be greater than any that was given before the database was set back."""
    before = int(time.time() * 1_000_000) - int(timedelta(minutes=1).total_seconds() * 1_000_000)
    await database.run(outbox.advance_sequence)
    async with database.session() as session:
        await publish(session, order("after"))
        await session.commit()
    [number] = await rows(database, "SELECT id FROM outbox")
    assert number > before
    await database.run(outbox.advance_sequence)
    async with database.session() as session:
        await publish(session, order("later"))
        await session.commit()
    assert await states(database) == ["after", "later"]


async def test_only_relayed_events_are_cleaned_away_and_no_more_than_asked(
    database: Database,
) -> None:
    async with database.session() as session:
        for number in range(5):
            await publish(session, order(str(number), new_id()))
        await session.execute(
            text("UPDATE outbox SET entry_ms = 10 + id, entry_seq = 0 WHERE id < 5")
        )
        await session.commit()

    async def clean(limit: int) -> int:
        async with database.session() as session:
            removed = await outbox.delete_relayed(session, 10 + 4, limit)
            await session.commit()
            return removed

    assert [await clean(2), await clean(2)] == [2, 1]
    assert await states(database) == ["3", "4"]
