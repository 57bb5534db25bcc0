"""Text tables for a terminal: the status of consumer groups and lists of dead letters."""

import time
from collections.abc import Sequence

import orjson

from service_platform.events.dead_letters import DeadLetter
from service_platform.events.status import GroupStatus
from service_platform.events.stream_ids import parse_stream_id
from service_platform.text_tables import format_duration, format_table


def format_status(rows: Sequence[GroupStatus]) -> str:
    """Format the status of consumer groups as a table."""
    header = ("stream", "group", "entries", "unread", "pending", "lag", "dead", "consumers")
    return format_table(
        header,
        [
            (
                row.stream,
                row.group,
                str(row.entries),
                "?" if row.unread is None else str(row.unread),
                str(row.pending),
                format_duration(row.lag_seconds) if row.lag_seconds else "-",
                str(row.dead),
                str(row.consumers),
            )
            for row in rows
        ],
    )


def format_dead_letters(letters: Sequence[tuple[str, DeadLetter]]) -> str:
    """Format dead letters, each with the name of its group, as a table without the events' data."""
    rows = []
    for group, letter in letters:
        try:
            event = orjson.loads(letter.content)
        except orjson.JSONDecodeError:
            event = {}
        rows.append(
            (
                group,
                str(event.get("type", "?")),
                str(event.get("subject", "?")),
                format_duration(time.time() - parse_stream_id(letter.id)[0] / 1000),
                str(letter.tries),
                letter.reason,
            )
        )
    return format_table(("group", "type", "subject", "since", "tries", "reason"), rows)


__all__ = ["format_dead_letters", "format_status"]
