"""The outbox: events written in the transaction of the change they tell of.

`publish` is what a service calls. The rest is for the relay (see `relay.py`), which moves them into
the stream: statements on the table `outbox`, each for a session of the caller.
"""

from dataclasses import dataclass
from typing import Any, Final

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from service_platform.events.event import Event, attributes_of

CHANNEL: Final = "outbox"
"""PostgreSQL notifies here at the commit of a transaction that published."""

LOCK_SPACE: Final = 0x6F757462
"""First half of the advisory locks: one of every subject, and of the relay (second half 0)."""

# One statement takes the subject's lock, draws the number, writes the row and asks for the notice.
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
_MARK: Final = text(
    """
    UPDATE outbox SET entry_ms = entry.ms, entry_seq = entry.seq
    FROM unnest(CAST(:ids AS bigint[]), CAST(:ms AS bigint[]), CAST(:seq AS bigint[]))
         AS entry (id, ms, seq)
    WHERE outbox.id = entry.id
    """
)
_FORGET: Final = text(
    """
    UPDATE outbox SET entry_ms = NULL, entry_seq = NULL
    WHERE id IN (
        SELECT id FROM outbox WHERE (entry_ms, entry_seq) > (:ms, :seq) LIMIT :limit
    )
    RETURNING id
    """
)
_CLEAN: Final = text(
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
_LIFT_SEQUENCE: Final = text(
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

MOST_COUNTED: Final = 100_000
"""A backlog is counted up to here: counting must stay cheap when it is worst."""

Entry = tuple[int, int]
"""Id of a stream entry: milliseconds and number."""


@dataclass(frozen=True, slots=True)
class Pending:
    """An event to be relayed: its sequence number, its attributes, and the only group it is for."""

    sequence: int
    attributes: dict[str, Any]
    recipient: str | None


async def publish(session: AsyncSession, event: Event, *, recipient: str | None = None) -> None:
    """Write an event in the transaction of the change it tells of.

    It reaches every listening service if, and only if, the transaction commits; Redis plays no part
    in it. Write the change first (it is flushed here) and make the event of what the row then says:
    another transaction's event of the same subject waits until this one ends.

    Args:
        session: of the transaction.
        event: what happened.
        recipient: name of the only consumer group that is to apply it; normally all do.
    """
    await session.flush()
    await session.execute(
        _INSERT,
        {
            "space": LOCK_SPACE,
            "subject": event.subject,
            "event": orjson.dumps(attributes_of(event)).decode(),
            "recipient": recipient,
            "channel": CHANNEL,
        },
    )


async def lock_relay(session: AsyncSession) -> bool:
    """Become the one relay of this moment, until the transaction ends.

    Returns:
        False when another one is at work.
    """
    return bool(await session.scalar(_LOCK, {"space": LOCK_SPACE}))


async def pending(session: AsyncSession, limit: int) -> list[Pending]:
    """The oldest events that are not in the stream."""
    rows = await session.execute(_PENDING, {"limit": limit})
    return [Pending(row.id, orjson.loads(row.event), row.recipient) for row in rows]


async def newest_entry(session: AsyncSession) -> Entry:
    """The newest stream entry that is known to have been written."""
    row = (await session.execute(_NEWEST)).one_or_none()
    return (0, 0) if row is None else (row.entry_ms, row.entry_seq)


async def mark_relayed(session: AsyncSession, events: list[Pending], entries: list[Entry]) -> None:
    """Remember under which entries the events are in the stream."""
    await session.execute(
        _MARK,
        {
            "ids": [event.sequence for event in events],
            "ms": [entry[0] for entry in entries],
            "seq": [entry[1] for entry in entries],
        },
    )


async def forget_entries_after(session: AsyncSession, entry: Entry, limit: int) -> int:
    """Make events pending again whose entries the stream has lost.

    Args:
        session: of the transaction.
        entry: the newest entry the stream still knows.
        limit: of this transaction.

    Returns:
        How many.
    """
    parameters = {"ms": entry[0], "seq": entry[1], "limit": limit}
    return len((await session.execute(_FORGET, parameters)).all())


async def clean(session: AsyncSession, before_ms: int, limit: int) -> int:
    """Delete events relayed before a time (milliseconds since the epoch); returns how many."""
    parameters = {"before_ms": before_ms, "limit": limit}
    return len((await session.execute(_CLEAN, parameters)).all())


async def backlog(session: AsyncSession) -> tuple[int, float]:
    """How many events wait for the relay (up to `MOST_COUNTED`), and the oldest one's age in s."""
    row = (await session.execute(_BACKLOG, {"limit": MOST_COUNTED})).one()
    return row.pending, row.oldest


async def lift_sequence(session: AsyncSession) -> None:
    """Go on numbering from the clock: microseconds since the epoch.

    After the database was restored to an earlier state, numbers would repeat and listeners would
    take new events for old ones. No service publishes a million events a second, so the clock is
    always ahead of any number given before.
    """
    await session.execute(_LIFT_SEQUENCE)


__all__ = [
    "CHANNEL",
    "Entry",
    "Pending",
    "backlog",
    "clean",
    "forget_entries_after",
    "lift_sequence",
    "lock_relay",
    "mark_relayed",
    "newest_entry",
    "pending",
    "publish",
]
