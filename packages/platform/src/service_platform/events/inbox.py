"""The inbox: applies events idempotently, in one transaction with the record that they were.

An event that is delivered again finds its row and has no second effect. An event that carries the
state of its subject (`Event.carries_state`) and is delivered after a newer one of the same subject
is skipped as superseded, because its state is out of date.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from enum import StrEnum
from typing import Final

import structlog
from opentelemetry.trace import SpanKind
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from service_platform.events.event import Event, Message
from service_platform.events.handlers import Handlers
from service_platform.telemetry.messaging_spans import event_span

# Rows are locked in one order everywhere, so that replicas cannot deadlock.
_INSERT_NEW: Final = text(
    """
    INSERT INTO inbox (event_id)
    SELECT id FROM unnest(CAST(:ids AS uuid[])) AS id ORDER BY id
    ON CONFLICT DO NOTHING
    RETURNING event_id
    """
)
_ADD_SUBJECTS: Final = text(
    """
    INSERT INTO inbox_subjects (stream, subject, sequence)
    SELECT :stream, subject, 0 FROM unnest(CAST(:subjects AS text[])) AS subject ORDER BY subject
    ON CONFLICT DO NOTHING
    """
)
_LOCK_SUBJECTS: Final = text(
    """
    SELECT subject, sequence FROM inbox_subjects
    WHERE stream = :stream AND subject = ANY (CAST(:subjects AS text[]))
    ORDER BY subject FOR UPDATE
    """
)
_ADVANCE_SUBJECTS: Final = text(
    """
    UPDATE inbox_subjects SET sequence = reached.sequence
    FROM unnest(CAST(:subjects AS text[]), CAST(:sequences AS bigint[]))
         AS reached (subject, sequence)
    WHERE inbox_subjects.stream = :stream AND inbox_subjects.subject = reached.subject
    """
)
_PROBE: Final = text("SELECT 1 FROM inbox LIMIT 1")
_DELETE_OLDER_THAN: Final = text(
    """
    DELETE FROM inbox WHERE event_id IN (
        SELECT event_id FROM inbox WHERE applied_at < now() - make_interval(secs => :seconds)
        ORDER BY applied_at LIMIT :limit FOR UPDATE SKIP LOCKED
    )
    RETURNING event_id
    """
)


class Outcome(StrEnum):
    """The result of applying an event: applied, or skipped and why."""

    APPLIED = "applied"
    DUPLICATE = "duplicate"
    SUPERSEDED = "superseded"


async def apply(
    session: AsyncSession, stream: str, messages: Sequence[Message[Event]], handlers: Handlers
) -> list[Outcome]:
    """Apply events in their order, each once, in the caller's transaction.

    Args:
        session: to be committed by the caller; when that fails, nothing has happened.
        stream: where the events come from.
        messages: the events.
        handlers: of the consuming service.

    Returns:
        The outcome of each event.

    Raises:
        Exception: a handler's; the transaction must be rolled back.
    """
    inserted = await session.scalars(_INSERT_NEW, {"ids": [message.id for message in messages]})
    new = set(inserted)
    stateful = [each for each in messages if each.id in new and each.event.carries_state]
    reached = await _lock_subjects(session, stream, {each.event.subject for each in stateful})
    before = dict(reached)
    outcomes = []
    for message in messages:
        subject = message.event.subject
        if message.id not in new:
            outcomes.append(Outcome.DUPLICATE)
            continue
        new.remove(message.id)  # the same event twice in one batch
        if message.event.carries_state:
            if message.sequence <= reached[subject]:
                outcomes.append(Outcome.SUPERSEDED)
                continue
            reached[subject] = message.sequence
        of_several = event_span("process", SpanKind.CONSUMER, stream, message.trace())
        with of_several if len(messages) > 1 else nullcontext():
            await _call_handler(session, message, handlers)
        outcomes.append(Outcome.APPLIED)
    await session.flush()
    advanced = {each: sequence for each, sequence in reached.items() if sequence != before[each]}
    if advanced:
        await session.execute(
            _ADVANCE_SUBJECTS,
            {
                "stream": stream,
                "subjects": list(advanced.keys()),
                "sequences": list(advanced.values()),
            },
        )
    return outcomes


async def _lock_subjects(session: AsyncSession, stream: str, subjects: set[str]) -> dict[str, int]:
    """Lock the subjects' rows and return the newest sequence number applied to each."""
    if not subjects:
        return {}
    parameters = {"stream": stream, "subjects": sorted(subjects)}
    await session.execute(_ADD_SUBJECTS, parameters)
    rows = await session.execute(_LOCK_SUBJECTS, parameters)
    return {row.subject: row.sequence for row in rows}


async def _call_handler(session: AsyncSession, message: Message[Event], handlers: Handlers) -> None:
    """Call the handler; its log lines have the id of the request that caused the event."""
    with structlog.contextvars.bound_contextvars(
        event_id=str(message.id),
        event_type=message.event.type,
        request_id=message.request_id,
        trace_id=message.trace_id,
    ):
        await handlers.call(session, message)


async def probe(session: AsyncSession) -> None:
    """Check that the database answers a query on the inbox.

    Raises:
        SQLAlchemyError: when it does not.
    """
    await session.execute(_PROBE)


async def delete_older_than(session: AsyncSession, days: float, limit: int) -> int:
    """Delete the records of events that were applied longer ago; return how many were deleted."""
    parameters = {"seconds": days * 86_400, "limit": limit}
    return len((await session.execute(_DELETE_OLDER_THAN, parameters)).all())


__all__ = ["Outcome", "apply", "delete_older_than", "probe"]
