"""One stream of events in Redis and a group's place in it: names and commands.

Keys of one stream share a hash tag, so that on a cluster they live on one node:

| key | what it is |
|---|---|
| `events:{auth}` | the stream; field `event` is a CloudEvent, `group` the only group it is for |
| `events:{auth}:dead:users` | dead letters of a group, a stream |
| `events:{auth}:tries:users` | failed tries by entry, a hash |
| `events:{auth}:due:users` | when failed entries are tried again, a sorted set |
| `events:streams` | names of all streams, a set |
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from service_platform import redis_client
from service_platform.events.outbox import Entry
from service_platform.settings import PlatformSettings

STREAMS: Final = "events:streams"
BLOCK_MILLISECONDS: Final = 1_000
ANSWER_SECONDS: Final = 2.0
"""What Redis may take beyond the time it was asked to wait, before the connection is given up."""
MOST_CONNECTIONS: Final = 8
MOST_UNFINISHED: Final = 10_000

# Appends only while the stream still has everything that was appended before, in one step: a Redis
# that lost data must not get later events before the lost ones are there again.
# KEYS: the stream. ARGV: newest known entry (ms, seq), then for each event content and group.
# Returns {0, newest id of the stream} when it lost some, else {1, ids...}.
_APPEND: Final = """
local last_ms, last_seq = 0, 0
if redis.call('EXISTS', KEYS[1]) == 1 then
  local info = redis.call('XINFO', 'STREAM', KEYS[1])
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then
      last_ms, last_seq = string.match(info[i + 1], '(%d+)-(%d+)')
      last_ms, last_seq = tonumber(last_ms), tonumber(last_seq)
    end
  end
end
local known_ms, known_seq = tonumber(ARGV[1]), tonumber(ARGV[2])
if last_ms < known_ms or (last_ms == known_ms and last_seq < known_seq) then
  return {0, string.format('%.0f-%.0f', last_ms, last_seq)}
end
local ids = {1}
for i = 3, #ARGV, 2 do
  if ARGV[i + 1] == '' then
    ids[#ids + 1] = redis.call('XADD', KEYS[1], '*', 'event', ARGV[i])
  else
    ids[#ids + 1] = redis.call('XADD', KEYS[1], '*', 'event', ARGV[i], 'group', ARGV[i + 1])
  end
end
return ids
"""


@dataclass(frozen=True, slots=True)
class Delivery:
    """An entry of the stream as it was given to a consumer.

    Attributes:
        id: of the entry.
        content: the CloudEvent.
        group: the only group it is for, `None` for all.
        times: how often it was delivered, where that is known.
    """

    id: bytes
    content: bytes
    group: str | None
    times: int = 1


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that was given up.

    Attributes:
        id: of the entry among the dead letters; its first half is the time in milliseconds.
        content: the CloudEvent.
        tries: how often it was tried.
        reason: the kind of failure.
    """

    id: bytes
    content: bytes
    tries: int
    reason: str


class StreamLostError(Exception):
    """The stream lacks entries that were written: Redis lost data, or was emptied.

    `newest` is the newest entry it still knows.
    """

    def __init__(self, newest: Entry) -> None:
        super().__init__("The stream has lost entries.")
        self.newest = newest


def connect(settings: PlatformSettings, *, block: bool = False) -> "Redis":
    """Make a client for events; `block` gives it the patience that waiting for entries needs."""
    patience = BLOCK_MILLISECONDS / 1000 if block else 0.0
    return redis_client.connect(
        settings,
        answer_within=ANSWER_SECONDS + patience,
        connect_within=ANSWER_SECONDS,
        max_connections=1 if block else MOST_CONNECTIONS,
        protocol=2,
    )


async def stream_names(client: "Redis") -> list[str]:
    """Names of all streams."""
    names: Any = await client.smembers(STREAMS)  # typed as sync or async
    return sorted(name.decode() for name in names)


def parse_id(entry: bytes | str) -> Entry:
    """The two numbers of an entry's id."""
    ms, _, seq = (entry.decode() if isinstance(entry, bytes) else entry).partition("-")
    return int(ms), int(seq or 0)


def format_id(entry: Entry) -> str:
    """An entry's id of its two numbers."""
    return f"{entry[0]}-{entry[1]}"


class EventStream:
    """The stream of one producing service.

    Args:
        client: for Redis.
        name: of the stream, the producing service's.
    """

    def __init__(self, client: "Redis", name: str) -> None:
        self.client: Any = client  # redis-py types every answer as sync or async
        self.name = name
        self.key = f"events:{{{name}}}"
        self._append = self.client.register_script(_APPEND)

    async def register(self) -> None:
        """Put the stream on the list that `events status` reads."""
        await self.client.sadd(STREAMS, self.name)

    async def append(
        self, events: Iterable[tuple[bytes, str | None]], *, known: Entry
    ) -> list[Entry]:
        """Append events, all or none.

        Args:
            events: content and, where it is for one group only, that group.
            known: the newest entry the stream must have.

        Raises:
            StreamLostError: when it does not have it; nothing was appended.
        """
        arguments: list[bytes | str | int] = [*known]
        for content, group in events:
            arguments += [content, group or ""]
        complete, *ids = await self._append(keys=[self.key], args=arguments)
        if not complete:
            raise StreamLostError(parse_id(ids[0]))
        return [parse_id(each) for each in ids]

    async def length(self) -> int:
        """Entries in the stream."""
        return int(await self.client.xlen(self.key))

    async def groups(self) -> list[dict[str, Any]]:
        """The consumer groups as `XINFO GROUPS` tells them."""
        try:
            groups: list[dict[str, Any]] = await self.client.xinfo_groups(self.key)
        except ResponseError:  # no such key
            return []
        return groups

    async def trim(self, *, before_ms: int) -> int:
        """Drop old entries that every group has applied; without a group, nothing.

        Args:
            before_ms: entries since then (milliseconds since the epoch) are kept in any case.

        Returns:
            How many.
        """
        groups = await self.groups()
        if not groups:
            return 0
        needed = [(before_ms, 0), *[await self._needed_by(group) for group in groups]]
        return int(
            await self.client.xtrim(self.key, minid=format_id(min(needed)), approximate=False)
        )

    async def _needed_by(self, group: dict[str, Any]) -> Entry:
        """The oldest entry a group has still to read or to finish."""
        ms, seq = parse_id(group["last-delivered-id"])
        if group["pending"]:
            oldest = (await self.client.xpending(self.key, group["name"]))["min"]
            if oldest is not None:
                return min(parse_id(oldest), (ms, seq + 1))
        return ms, seq + 1


class GroupStream(EventStream):
    """A consumer group's side of a stream.

    Args:
        client: for Redis.
        name: of the stream.
        group: of the consumers, the listening service's name.
        consumer: name of this consumer within the group.
    """

    def __init__(self, client: "Redis", name: str, group: str, consumer: str = "command") -> None:
        super().__init__(client, name)
        self.group = group
        self.consumer = consumer
        self.dead_key = f"{self.key}:dead:{group}"
        self.tries_key = f"{self.key}:tries:{group}"
        self.due_key = f"{self.key}:due:{group}"

    async def create_group(self) -> None:
        """Make the group, at the stream's first entry, where it does not exist."""
        try:
            await self.client.xgroup_create(self.key, self.group, id="0", mkstream=True)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise
        await self.register()

    async def read(self, client: "Redis", count: int) -> list[Delivery]:
        """Wait a moment for entries that no consumer of the group was given.

        Args:
            client: one made with `block=True`.
            count: the most to take.
        """
        answer: Any = await client.xreadgroup(
            self.group, self.consumer, {self.key: ">"}, count=count, block=BLOCK_MILLISECONDS
        )
        return _deliveries(answer[0][1]) if answer else []

    async def claim_abandoned(self, idle_seconds: float, count: int) -> list[Delivery]:
        """Take over what a consumer was given and did not finish, oldest first."""
        idle = round(idle_seconds * 1000)
        answer = await self.client.xautoclaim(
            self.key, self.group, self.consumer, min_idle_time=idle, start_id="0-0", count=count
        )
        claimed = _deliveries(answer[1])
        if not claimed:
            return []
        counts = await self.client.xpending_range(
            self.key,
            self.group,
            min=claimed[0].id,
            max=claimed[-1].id,
            count=count,
            consumername=self.consumer,
        )
        times = {each["message_id"]: int(each["times_delivered"]) for each in counts}
        return [
            Delivery(each.id, each.content, each.group, times.get(each.id, 1)) for each in claimed
        ]

    async def claim_due(self, count: int) -> list[Delivery]:
        """Take entries whose next try is due; each goes to one consumer only."""
        due = await self.client.zrangebyscore(
            self.due_key, 0, round(time.time() * 1000), start=0, num=count
        )
        claimed = []
        for entry in due:
            if await self.client.zrem(self.due_key, entry):
                claimed += await self.client.xclaim(
                    self.key, self.group, self.consumer, min_idle_time=0, message_ids=[entry]
                )
        return _deliveries(claimed)

    async def acknowledge(self, entries: Sequence[bytes]) -> None:
        """The entries are done with."""
        if not entries:
            return
        pipeline = self.client.pipeline(transaction=True)
        pipeline.xack(self.key, self.group, *entries)
        pipeline.hdel(self.tries_key, *entries)
        pipeline.zrem(self.due_key, *entries)
        await pipeline.execute()

    async def count_failure(self, entry: bytes) -> int:
        """Count a failed try; returns how many there were."""
        return int(await self.client.hincrby(self.tries_key, entry, 1))

    async def try_again_in(self, entry: bytes, seconds: float) -> None:
        """Set when an entry is tried again."""
        await self.client.zadd(self.due_key, {entry: round((time.time() + seconds) * 1000)})

    async def bury(self, delivery: Delivery, *, tries: int, reason: str) -> None:
        """Move an entry to the dead letters."""
        pipeline = self.client.pipeline(transaction=True)
        pipeline.xadd(
            self.dead_key,
            {"event": delivery.content, "entry": delivery.id, "tries": tries, "reason": reason},
        )
        pipeline.xack(self.key, self.group, delivery.id)
        pipeline.hdel(self.tries_key, delivery.id)
        pipeline.zrem(self.due_key, delivery.id)
        await pipeline.execute()

    async def leave(self) -> None:
        """Let others take at once what this consumer leaves unfinished, then leave the group."""
        unfinished = await self.client.xpending_range(
            self.key,
            self.group,
            min="-",
            max="+",
            count=MOST_UNFINISHED,
            consumername=self.consumer,
        )
        if unfinished:
            await self.client.xclaim(
                self.key,
                self.group,
                self.consumer,
                min_idle_time=0,
                message_ids=[each["message_id"] for each in unfinished],
                idle=24 * 3_600_000,
                justid=True,
            )
        else:
            # Leaving while something is unfinished would drop it from the group's list.
            await self.client.xgroup_delconsumer(self.key, self.group, self.consumer)

    async def forget_dead_consumers(self, idle_seconds: float) -> None:
        """Remove consumers that are long gone and have nothing unfinished."""
        for consumer in await self.consumers():
            if not consumer["pending"] and consumer["idle"] > idle_seconds * 1000:
                await self.client.xgroup_delconsumer(self.key, self.group, consumer["name"])

    async def lag(self) -> tuple[int, float]:
        """How many entries are delivered and not applied; age in s of the oldest not applied."""
        for group in await self.groups():
            if group["name"] != self.group.encode():
                continue
            ms, seq = await self._needed_by(group)
            first = await self.client.xrange(self.key, min=format_id((ms, seq)), count=1)
            age = time.time() - parse_id(first[0][0])[0] / 1000 if first else 0.0
            return int(group["pending"]), max(age, 0.0)
        return 0, 0.0

    async def dead_letters(self) -> int:
        """How many dead letters the group has."""
        return int(await self.client.xlen(self.dead_key))

    async def drop_dead_letters(self, *, before_ms: int) -> int:
        """Drop dead letters older than a time; returns how many."""
        return int(
            await self.client.xtrim(
                self.dead_key, minid=format_id((before_ms, 0)), approximate=False
            )
        )

    async def letters(self, count: int, *, after: bytes | None = None) -> list[DeadLetter]:
        """The group's dead letters, oldest first.

        Args:
            count: the most to read.
            after: id of the letter to go on behind.
        """
        first = "-" if after is None else b"(" + after
        return [
            DeadLetter(
                entry,
                fields[b"event"],
                tries=int(fields.get(b"tries", 0)),
                reason=fields.get(b"reason", b"").decode(),
            )
            for entry, fields in await self.client.xrange(self.dead_key, min=first, count=count)
        ]

    async def replay(self, letter: DeadLetter) -> None:
        """Give a dead letter to the group again, as a new entry for it alone."""
        pipeline = self.client.pipeline(transaction=True)
        pipeline.xdel(self.dead_key, letter.id)
        pipeline.xadd(self.key, {"event": letter.content, "group": self.group})
        await pipeline.execute()

    async def consumers(self) -> list[dict[str, Any]]:
        """The group's consumers as `XINFO CONSUMERS` tells them."""
        found: list[dict[str, Any]] = await self.client.xinfo_consumers(self.key, self.group)
        return found

    async def destroy_group(self) -> None:
        """Remove the group with its place in the stream and its dead letters."""
        pipeline = self.client.pipeline(transaction=True)
        pipeline.xgroup_destroy(self.key, self.group)
        pipeline.delete(self.dead_key, self.tries_key, self.due_key)
        await pipeline.execute()


def _deliveries(entries: Iterable[tuple[bytes, dict[bytes, bytes] | None]]) -> list[Delivery]:
    """Entries with their fields; one that is deleted from the stream has none left."""
    return [
        Delivery(
            entry,
            fields.get(b"event", b""),
            group.decode() if (group := fields.get(b"group")) else None,
        )
        for entry, fields in entries
        if fields is not None
    ]


__all__ = [
    "STREAMS",
    "DeadLetter",
    "Delivery",
    "EventStream",
    "GroupStream",
    "StreamLostError",
    "connect",
    "format_id",
    "parse_id",
    "stream_names",
]
