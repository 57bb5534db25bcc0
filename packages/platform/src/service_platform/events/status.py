"""The status of every consumer group: backlog, lag, dead letters and consumers."""

from dataclasses import dataclass
from typing import Final

from redis.asyncio import Redis

from service_platform.events.consumer_group import ConsumerGroup
from service_platform.events.stream import EventStream, stream_names

ACTIVE_SECONDS: Final = 60.0
"""A consumer that was idle for longer is not counted."""


@dataclass(frozen=True, slots=True)
class GroupStatus:
    """The progress of a consumer group in a stream.

    Attributes:
        stream: name of the stream.
        group: name of the group.
        entries: length of the stream.
        unread: entries not delivered to the group yet; `None` where Redis does not know.
        pending: entries delivered and not applied.
        lag_seconds: age of the oldest entry not applied.
        dead: dead letters.
        consumers: running replicas.
    """

    stream: str
    group: str
    entries: int
    unread: int | None
    pending: int
    lag_seconds: float
    dead: int
    consumers: int


async def consumer_groups(client: "Redis", name: str | None = None) -> list[ConsumerGroup]:
    """List the consumer groups of all streams, or those of one name."""
    found = [
        ConsumerGroup(client, stream, each["name"].decode())
        for stream in await stream_names(client)
        for each in await EventStream(client, stream).groups()
    ]
    return [each for each in found if name in {None, each.name}]


async def read_status(client: "Redis") -> list[GroupStatus]:
    """Read the status of every consumer group of every stream."""
    return [await _status_of(each) for each in await consumer_groups(client)]


async def _status_of(group: ConsumerGroup) -> GroupStatus:
    groups = await group.stream.groups()
    info = next(each for each in groups if each["name"] == group.name.encode())
    pending, lag = await group.pending_and_lag()
    consumers = await group.consumers()
    return GroupStatus(
        stream=group.stream.name,
        group=group.name,
        entries=await group.stream.length(),
        unread=info.get("lag"),
        pending=pending,
        lag_seconds=lag,
        dead=await group.dead_letters.length(),
        consumers=sum(each["idle"] < ACTIVE_SECONDS * 1000 for each in consumers),
    )


__all__ = ["GroupStatus", "consumer_groups", "read_status"]
