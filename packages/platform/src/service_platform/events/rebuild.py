"""Tells one listening service again how everything is now, through the outbox.

The producing service says what that is, in its module `events`:

    SNAPSHOT = Snapshot(stream="auth", count=count, page=page)

Run as often as one likes: to a listener that has everything already, it changes nothing.
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
MOST_WAITING: Final = 5_000
"""No more is written while this many events wait for the relay."""
WAIT_SECONDS: Final = 0.2
PATIENCE_SECONDS: Final = 30.0
"""How long the relay may stand still."""


class NoSnapshotError(Exception):
    """The producing service cannot be asked; the message says why."""


class RelayStandsStillError(Exception):
    """What is published does not leave the outbox; the message says what to look at."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The current state of everything a service publishes events about.

    Attributes:
        stream: the service's stream.
        count: how many subjects there are, about.
        page: events that tell the state of the subjects behind one (`None`: from the first), each
            with its subject's id, ordered by it; must keep them from changing until the
            transaction ends.
    """

    stream: str
    count: Callable[[AsyncSession], Awaitable[int]]
    page: Callable[[AsyncSession, UUID | None, int], Awaitable[Sequence[tuple[UUID, Event]]]]


def snapshot_of(producer: str) -> Snapshot:
    """The snapshot a service defines.

    Args:
        producer: import name of the service, such as `auth`.

    Raises:
        NoSnapshotError: when it is not installed here, or has none.
    """
    try:
        found = getattr(import_module(f"{producer}.events"), "SNAPSHOT", None)
    except ModuleNotFoundError as error:
        if error.name not in {producer, f"{producer}.events"}:
            raise
        found = None
    if not isinstance(found, Snapshot):
        raise NoSnapshotError(
            f"The state of {producer} is not known here; run this where {producer} runs, for "
            f"example by: kubectl exec deploy/{producer} -- "
            "python -m service_platform.events rebuild …"
        )
    return found


async def rebuild(
    database: Database, snapshot: Snapshot, group: str, progress: Callable[[int, int], None]
) -> int:
    """Publish the state of everything to one group, in short transactions.

    Args:
        database: of the producing service.
        snapshot: its state.
        group: name of the listening service.
        progress: is told how many are published, and how many there are.

    Returns:
        How many events were published.
    """
    total = await database.run(snapshot.count)
    await database.run(outbox.lift_sequence)
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
    """Publish the state of the next subjects; returns their ids."""
    page = await snapshot.page(session, after, PAGE)
    for _, event in page:
        await outbox.publish(session, event, recipient=group)
    return [subject for subject, _ in page]


async def _wait_for_relay(database: Database) -> None:
    """Return when the relay has caught up.

    Raises:
        RelayStandsStillError: when it does not.
    """
    least, since = outbox.MOST_COUNTED, time.monotonic()
    while True:
        waiting, _ = await database.run(outbox.backlog)
        if waiting <= MOST_WAITING:
            return
        if waiting < least:
            least, since = waiting, time.monotonic()
        elif time.monotonic() - since > PATIENCE_SECONDS:
            raise RelayStandsStillError(
                f"{waiting} events wait for the relay and it does not move them; is the producer "
                "running and Redis reachable? Then run this again."
            )
        await asyncio.sleep(WAIT_SECONDS)


__all__ = ["NoSnapshotError", "RelayStandsStillError", "Snapshot", "rebuild", "snapshot_of"]
