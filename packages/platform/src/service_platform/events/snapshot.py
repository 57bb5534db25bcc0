"""Snapshots: publishes the current state of everything to one consuming service again.

The command `rebuild` does it for a service whose data was lost or restored. The producing service
defines its snapshot in its module `events`:

    SNAPSHOT = Snapshot(stream="auth", count=count, page=page)

It can be repeated: it changes nothing in a service that has everything already.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from service_platform.database import Database
from service_platform.events import outbox
from service_platform.events.event import Event

PAGE: Final = 200
MAX_PENDING: Final = 5_000
"""No more events are published while this many are pending in the outbox."""
POLL_SECONDS: Final = 0.2
STALLED_SECONDS: Final = 30.0
"""The relay is taken to be stalled after this time without progress."""


class SnapshotNotFoundError(Exception):
    """The producing service defines no snapshot here; the message says where to run the command."""


class RelayStalledError(Exception):
    """The relay does not empty the outbox; the message says what to check."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The current state of everything a service publishes events about.

    Attributes:
        stream: the service's stream.
        count: counts the subjects, approximately.
        page: returns events with the state of the subjects that follow one (`None`: from the
            first), each with its subject's id, ordered by it; must lock the subjects until the
            transaction ends.
    """

    stream: str
    count: Callable[[AsyncSession], Awaitable[int]]
    page: Callable[[AsyncSession, UUID | None, int], Awaitable[Sequence[tuple[UUID, Event]]]]


def find_snapshot(producer: str) -> Snapshot:
    """Import the snapshot that a producing service defines.

    Args:
        producer: import name of the service, such as `auth`.

    Raises:
        SnapshotNotFoundError: the service is not installed here, or has no snapshot.
    """
    try:
        found = getattr(import_module(f"{producer}.events"), "SNAPSHOT", None)
    except ModuleNotFoundError as error:
        if error.name not in {producer, f"{producer}.events"}:
            raise
        found = None
    if not isinstance(found, Snapshot):
        raise SnapshotNotFoundError(
            f"The state of {producer} is not known here; run this where {producer} runs, for "
            f"example by: kubectl exec deploy/{producer} -- "
            "python -m service_platform.events rebuild …"
        )
    return found


async def publish_snapshot(
    database: Database, snapshot: Snapshot, group: str, progress: Callable[[int, int], None]
) -> int:
    """Publish the events of a snapshot to one consumer group, in short transactions.

    Args:
        database: of the producing service.
        snapshot: its state.
        group: name of the consuming service.
        progress: called with the number of events published, and of all.

    Returns:
        How many events were published.

    Raises:
        RelayStalledError: the relay does not empty the outbox.
    """
    total = await database.run(snapshot.count)
    await database.run(outbox.advance_sequence)
    after: UUID | None = None
    published = 0
    while page := await database.run(partial(_publish_page, snapshot, group, after)):
        after = page[-1]
        published += len(page)
        progress(published, max(total, published))
        await _wait_for_relay(database)
    return published


async def _publish_page(
    snapshot: Snapshot, group: str, after: UUID | None, session: AsyncSession
) -> list[UUID]:
    """Publish the state of the next subjects; return their ids."""
    page = await snapshot.page(session, after, PAGE)
    for _, event in page:
        await outbox.publish(session, event, recipient=group)
    return [subject for subject, _ in page]


async def _wait_for_relay(database: Database) -> None:
    """Wait until few enough events are pending in the outbox.

    Raises:
        RelayStalledError: the relay makes no progress.
    """
    fewest, since = outbox.MAX_COUNTED, time.monotonic()
    while True:
        pending, _ = await database.run(outbox.backlog)
        if pending <= MAX_PENDING:
            return
        if pending < fewest:
            fewest, since = pending, time.monotonic()
        elif time.monotonic() - since > STALLED_SECONDS:
            raise RelayStalledError(
                f"{pending} events wait for the relay and it does not move them; is the producer "
                "running and Redis reachable? Then run this again."
            )
        await asyncio.sleep(POLL_SECONDS)


__all__ = [
    "RelayStalledError",
    "Snapshot",
    "SnapshotNotFoundError",
    "find_snapshot",
    "publish_snapshot",
]
