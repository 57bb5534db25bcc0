"""The transactional outbox: publishes events in the transaction of the change they report.

`publish` is what a service calls. The rest is for the relay (see `relay.py`), which appends the
events to the stream: statements on the table `outbox`, each in the caller's session.
"""

from dataclasses import dataclass
from typing import Any, Final

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from service_platform.events.cloudevents import new_cloudevent
from service_platform.events.event import Event
from service_platform.events.stream_ids import StreamId
from service_platform.telemetry.messaging_spans import create_span

NOTIFY_CHANNEL: Final = "outbox"
"""PostgreSQL notifies this channel at the commit of a transaction that published."""

LOCK_NAMESPACE: Final = 0x6F757462
"""First half of the advisory locks: one of every subject, and of the relay (second half 0)."""

# One statement takes the subject's lock, draws the number, writes the row and notifies the relay.
# The number is drawn after the lock, so that of two transactions on one subject the one that
# commits later has the greater number.
_INSERT: Final = text(
    """
    WITH locked AS MATERIALIZED (
        SELECT pg_advisory_xact_lock(:space, hashtext(:subject)) AS nothing
    )
    INSERT INTO outbox (event, recipient)
    SELECT CAST(:event AS jsonb), CAST(:recipient AS text) FROM locked
    RETURNING pg_notify(:channel, '')
    """
)
_LOCK: Final = text("SELECT pg_try_advisory_xact_lock(:space, 0)")
_PENDING: Final = text(
    """
    SELECT id, event::text AS event, recipient FROM outbox
    WHERE entry_ms IS NULL ORDER BY id LIMIT :limit FOR UPDATE SKIP LOCKED
    """
)
_NEWEST: Final = text(
    """
    SELECT entry_ms, entry_seq FROM outbox WHERE entry_ms IS NOT NULL
    ORDER BY entry_ms DESC, entry_seq DESC LIMIT 1
    """
)
_MARK_RELAYED: Final = text(
    """
    UPDATE outbox SET entry_ms = entry.ms, entry_seq = entry.seq
    FROM unnest(CAST(:ids AS bigint[]), CAST(:ms AS bigint[]), CAST(:seq AS bigint[]))
         AS entry (id, ms, seq)
    WHERE outbox.id = entry.id
    """
)
_MARK_PENDING: Final = text(
    """
    UPDATE outbox SET entry_ms = NULL, entry_seq = NULL
    WHERE id IN (
        SELECT id FROM outbox WHERE (entry_ms, entry_seq) > (:ms, :seq) LIMIT :limit
    )
    RETURNING id
    """
)
_DELETE_RELAYED: Final = text(
    """
    DELETE FROM outbox WHERE id IN (
        SELECT id FROM outbox WHERE entry_ms < :before_ms
        ORDER BY entry_ms, entry_seq LIMIT :limit FOR UPDATE SKIP LOCKED
    )
    RETURNING id
    """
)
_BACKLOG: Final = text(
    """
    SELECT count(*) AS pending,
           coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)::float8 AS oldest
    FROM (SELECT created_at FROM outbox WHERE entry_ms IS NULL ORDER BY id LIMIT :limit) AS rows
    """
)
_ADVANCE_SEQUENCE: Final = text(
    """
    SELECT setval(
        pg_get_serial_sequence('outbox', 'id'),
        greatest(
            nextval(pg_get_serial_sequence('outbox', 'id')),
            CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)
        )
    )
    """
)

MAX_COUNTED: Final = 100_000
"""A backlog is counted up to here, so that counting stays cheap."""


@dataclass(frozen=True, slots=True)
class PendingEvent:
    """An event that the relay has not appended to the stream yet.

    Attributes:
        sequence: its number.
        attributes: of the CloudEvent.
        recipient: the only consumer group it is for, `None` for all.
    """

    sequence: int
    attributes: dict[str, Any]
    recipient: str | None


async def publish(session: AsyncSession, event: Event, *, recipient: str | None = None) -> None:
    """Publish an event in the transaction of the change it reports.

    It reaches every consuming service if, and only if, the transaction commits; Redis is not
    needed for it. Write the change first (it is flushed here) and make the event of what the row
    then contains: another transaction's event of the same subject waits until this one ends.

    Args:
        session: of the transaction.
        event: what happened.
        recipient: name of the only consumer group that is to apply it; by default all do.
    """
    await session.flush()
    with create_span(event.type):
        await session.execute(
            _INSERT,
            {
                "space": LOCK_NAMESPACE,
                "subject": event.subject,
                "event": orjson.dumps(new_cloudevent(event)).decode(),
                "recipient": recipient,
                "channel": NOTIFY_CHANNEL,
            },
        )


async def try_lock_relay(session: AsyncSession) -> bool:
    """Try to lock the relay's work for this transaction.

    Returns:
        False when another relay holds the lock.
    """
    return bool(await session.scalar(_LOCK, {"space": LOCK_NAMESPACE}))


async def pending_events(session: AsyncSession, limit: int) -> list[PendingEvent]:
    """Read the oldest events that are not in the stream."""
    rows = await session.execute(_PENDING, {"limit": limit})
    return [PendingEvent(row.id, orjson.loads(row.event), row.recipient) for row in rows]


async def newest_relayed(session: AsyncSession) -> StreamId:
    """Read the id of the newest stream entry that a relay has appended."""
    row = (await session.execute(_NEWEST)).one_or_none()
    return (0, 0) if row is None else (row.entry_ms, row.entry_seq)


async def mark_relayed(
    session: AsyncSession, events: list[PendingEvent], entry_ids: list[StreamId]
) -> None:
    """Mark events as relayed and store the ids of their stream entries."""
    await session.execute(
        _MARK_RELAYED,
        {
            "ids": [event.sequence for event in events],
            "ms": [ms for ms, _ in entry_ids],
            "seq": [sequence for _, sequence in entry_ids],
        },
    )


async def mark_pending_after(session: AsyncSession, newest: StreamId, limit: int) -> int:
    """Mark relayed events as pending again whose entries the stream has lost.

    Args:
        session: of the transaction.
        newest: the newest entry the stream still has.
        limit: the most events to mark.

    Returns:
        How many were marked.
    """
    parameters = {"ms": newest[0], "seq": newest[1], "limit": limit}
    return len((await session.execute(_MARK_PENDING, parameters)).all())


async def delete_relayed(session: AsyncSession, before_ms: int, limit: int) -> int:
    """Delete events relayed before a time (milliseconds since the epoch); return how many."""
    parameters = {"before_ms": before_ms, "limit": limit}
    return len((await session.execute(_DELETE_RELAYED, parameters)).all())


async def backlog(session: AsyncSession) -> tuple[int, float]:
    """Count the pending events (up to `MAX_COUNTED`); return that and the oldest one's age in s."""
    row = (await session.execute(_BACKLOG, {"limit": MAX_COUNTED})).one()
    return row.pending, row.oldest


async def advance_sequence(session: AsyncSession) -> None:
    """Advance the sequence of event numbers to the clock: microseconds since the epoch.

    After the database was restored from a backup, numbers would repeat and consumers would take
    new events for old ones. No service publishes a million events a second, so the clock is
    always ahead of any number given before.
    """
    await session.execute(_ADVANCE_SEQUENCE)


__all__ = [
    "NOTIFY_CHANNEL",
    "PendingEvent",
    "advance_sequence",
    "backlog",
    "delete_relayed",
    "mark_pending_after",
    "mark_relayed",
    "newest_relayed",
    "pending_events",
    "publish",
    "try_lock_relay",
]
