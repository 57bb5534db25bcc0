"""Snapshots: the state of everything, published to one consumer group."""

from collections.abc import Sequence
from uuid import UUID

import pytest
from shop.orders import OrderChanged
from shop.watching import rows
from sqlalchemy.ext.asyncio import AsyncSession

from service_platform.database import Database
from service_platform.events import Event, snapshot
from service_platform.events.snapshot import (
    RelayStalledError,
    Snapshot,
    SnapshotNotFoundError,
    find_snapshot,
    publish_snapshot,
)
from service_platform.ids import new_id

ORDERS = sorted(new_id() for _ in range(5))


async def count(_: AsyncSession) -> int:
    return len(ORDERS)


async def page(_: AsyncSession, after: UUID | None, limit: int) -> Sequence[tuple[UUID, Event]]:
    following = [each for each in ORDERS if after is None or each > after][:limit]
    return [(each, OrderChanged(order_id=each, state="sent")) for each in following]


SNAPSHOT = Snapshot(stream="shop", count=count, page=page)


async def test_every_subject_is_published_once_to_the_group_alone(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "PAGE", 2)
    progress: list[tuple[int, int]] = []
    published = await publish_snapshot(
        database, SNAPSHOT, "office", lambda done, total: progress.append((done, total))
    )
    assert published == 5
    assert progress == [(2, 5), (4, 5), (5, 5)]
    found = await rows(database, "SELECT event->>'subject', recipient FROM outbox ORDER BY id")
    assert found == [(str(each), "office") for each in ORDERS]


async def test_it_waits_for_the_relay_and_gives_up_when_it_is_stalled(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "MAX_PENDING", 1)
    monkeypatch.setattr(snapshot, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(snapshot, "STALLED_SECONDS", 0.05)
    with pytest.raises(RelayStalledError, match="5 events wait for the relay"):
        await publish_snapshot(database, SNAPSHOT, "office", lambda *_: None)


async def test_it_goes_on_while_the_relay_works(
    database: Database, relay: object, redis: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "PAGE", 1)
    monkeypatch.setattr(snapshot, "MAX_PENDING", 0)
    monkeypatch.setattr(snapshot, "POLL_SECONDS", 0.01)
    async with relay():  # type: ignore[operator]
        assert await publish_snapshot(database, SNAPSHOT, "office", lambda *_: None) == 5


def test_a_snapshot_is_found_in_the_module_events_of_its_service() -> None:
    assert find_snapshot("auth").stream == "auth"


@pytest.mark.parametrize("producer", ["users", "nobody"])
def test_a_service_without_a_snapshot_is_refused(producer: str) -> None:
    with pytest.raises(SnapshotNotFoundError, match=f"run this where {producer} runs"):
        find_snapshot(producer)
