"""What `events status` and `events dead` tell."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import orjson
from redis.asyncio import Redis

from service_platform.events.stream import (
    DeadLetter,
    EventStream,
    GroupStream,
    parse_id,
    stream_names,
)

SEEN_SECONDS: Final = 60.0
"""A consumer that has not been seen for longer is not counted as there."""


@dataclass(frozen=True, slots=True)
class GroupStatus:
    """How far a group is with a stream.

    Attributes:
        stream: name of the stream.
        group: name of the group.
        entries: length of the stream.
        unread: entries the group was not given yet; `None` where Redis cannot tell.
        pending: entries given and not applied.
        lag_seconds: age of the oldest entry not applied.
        dead: dead letters.
        consumers: replicas at work.
    """

    stream: str
    group: str
    entries: int
    unread: int | None
    pending: int
    lag_seconds: float
    dead: int
    consumers: int


async def groups_of(client: "Redis", group: str | None = None) -> list[GroupStream]:
    """Every group of every stream, or those of one name."""
    found = [
        GroupStream(client, name, each["name"].decode())
        for name in await stream_names(client)
        for each in await EventStream(client, name).groups()
    ]
    return [each for each in found if group in {None, each.group}]


async def status(client: "Redis") -> list[GroupStatus]:
    """The state of every group."""
    return [await _status_of(each) for each in await groups_of(client)]


async def _status_of(stream: GroupStream) -> GroupStatus:
    told = next(each for each in await stream.groups() if each["name"] == stream.group.encode())
    pending, lag = await stream.lag()
    consumers = await stream.consumers()
    return GroupStatus(
        stream=stream.name,
        group=stream.group,
        entries=await stream.length(),
        unread=told.get("lag"),
        pending=pending,
        lag_seconds=lag,
        dead=await stream.dead_letters(),
        consumers=sum(each["idle"] < SEEN_SECONDS * 1000 for each in consumers),
    )


def status_table(rows: Sequence[GroupStatus]) -> str:
    """The state of the groups for a person."""
    header = ("stream", "group", "entries", "unread", "pending", "lag", "dead", "consumers")
    return table(
        header,
        [
            (
                row.stream,
                row.group,
                str(row.entries),
                "?" if row.unread is None else str(row.unread),
                str(row.pending),
                span(row.lag_seconds) if row.lag_seconds else "-",
                str(row.dead),
                str(row.consumers),
            )
            for row in rows
        ],
    )


def letters_table(letters: Sequence[tuple[GroupStream, DeadLetter]]) -> str:
    """Dead letters for a person: everything but their data."""
    rows = []
    for stream, letter in letters:
        try:
            event = orjson.loads(letter.content)
        except orjson.JSONDecodeError:
            event = {}
        rows.append(
            (
                stream.group,
                str(event.get("type", "?")),
                str(event.get("subject", "?")),
                span(time.time() - parse_id(letter.id)[0] / 1000),
                str(letter.tries),
                letter.reason,
            )
        )
    return table(("group", "type", "subject", "since", "tries", "reason"), rows)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns of text under a header."""
    lines = [tuple(name.upper() for name in header), *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def span(seconds: float) -> str:
    """A length of time in its largest unit."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.1f} s"


__all__ = ["GroupStatus", "groups_of", "letters_table", "span", "status", "status_table"]
