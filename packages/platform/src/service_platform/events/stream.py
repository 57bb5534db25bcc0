"""The Redis stream of a producing service's events: appending to it, trimming it, its keys.

Keys of one stream share a hash tag, so that on a cluster they live on one node:

| key | what it is |
|---|---|
| `events:{auth}` | the stream; field `event` is a CloudEvent, `group` the only group it is for |
| `events:{auth}:dead:users` | dead-letter queue of a consumer group, a stream |
| `events:{auth}:tries:users` | failed tries by entry, a hash |
| `events:{auth}:due:users` | when failed entries are tried again, a sorted set |
| `events:streams` | names of all streams, a set |

`consumer_group.py` reads the stream, `dead_letters.py` has the dead-letter queue.
"""

from collections.abc import Iterable
from typing import Any, Final

from redis.asyncio import Redis

from service_platform import redis_client
from service_platform.events.stream_ids import StreamId, format_stream_id, parse_stream_id
from service_platform.settings import PlatformSettings

STREAM_NAMES_KEY: Final = "events:streams"
BLOCK_MILLISECONDS: Final = 1_000
RESPONSE_SECONDS: Final = 2.0
"""What Redis may take beyond the time it was asked to block, before the connection is closed."""
MAX_CONNECTIONS: Final = 8

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


class StreamDataLossError(Exception):
    """Redis lost entries of the stream that were appended before, or the stream was deleted.

    Attributes:
        newest: id of the newest entry the stream still has.
    """

    def __init__(self, newest: StreamId) -> None:
        super().__init__("The stream has lost entries.")
        self.newest = newest


def connect(settings: PlatformSettings, *, block: bool = False) -> "Redis":
    """Create a Redis client for events.

    Args:
        settings: the address of Redis.
        block: whether the client is for reads that block until entries arrive; they need a longer
            timeout and a connection of their own.
    """
    block_seconds = BLOCK_MILLISECONDS / 1000 if block else 0.0
    return redis_client.connect(
        settings,
        answer_within=RESPONSE_SECONDS + block_seconds,
        connect_within=RESPONSE_SECONDS,
        max_connections=1 if block else MAX_CONNECTIONS,
        protocol=2,
    )


async def stream_names(client: "Redis") -> list[str]:
    """List the names of all streams of events."""
    names: Any = await client.smembers(STREAM_NAMES_KEY)  # typed as sync or async
    return sorted(name.decode() for name in names)


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
        """Add the stream to the list of streams that the command `status` reads."""
        await self.client.sadd(STREAM_NAMES_KEY, self.name)

    async def append(
        self, events: Iterable[tuple[bytes, str | None]], *, newest_known: StreamId
    ) -> list[StreamId]:
        """Append events to the stream, all or none; return the ids of their entries.

        Args:
            events: content and, where it is for one group only, that group.
            newest_known: the newest entry that was appended before.

        Raises:
            StreamDataLossError: the stream does not have that entry; nothing was appended.
        """
        arguments: list[bytes | str | int] = [*newest_known]
        for content, group in events:
            arguments += [content, group or ""]
        complete, *ids = await self._append(keys=[self.key], args=arguments)
        if not complete:
            raise StreamDataLossError(parse_stream_id(ids[0]))
        return [parse_stream_id(each) for each in ids]

    async def length(self) -> int:
        """Count the entries in the stream."""
        return int(await self.client.xlen(self.key))

    async def groups(self) -> list[dict[str, Any]]:
        """List the consumer groups, as `XINFO GROUPS` returns them."""
        if not await self.client.exists(self.key):
            return []
        groups: list[dict[str, Any]] = await self.client.xinfo_groups(self.key)
        return groups

    async def trim(self, *, before_ms: int) -> int:
        """Delete old entries that every consumer group has applied; without a group, none.

        Args:
            before_ms: entries since then (milliseconds since the epoch) are kept in any case.

        Returns:
            How many were deleted.
        """
        groups = await self.groups()
        if not groups:
            return 0
        oldest_kept = min([(before_ms, 0), *[await self.oldest_unapplied(each) for each in groups]])
        return int(
            await self.client.xtrim(
                self.key, minid=format_stream_id(oldest_kept), approximate=False
            )
        )

    async def oldest_unapplied(self, group: dict[str, Any]) -> StreamId:
        """Find the oldest entry that a consumer group has yet to read or to acknowledge.

        Args:
            group: one of `groups()`.
        """
        ms, sequence = parse_stream_id(group["last-delivered-id"])
        if group["pending"]:
            oldest = (await self.client.xpending(self.key, group["name"]))["min"]
            if oldest is not None:
                return min(parse_stream_id(oldest), (ms, sequence + 1))
        return ms, sequence + 1


__all__ = [
    "STREAM_NAMES_KEY",
    "EventStream",
    "StreamDataLossError",
    "connect",
    "stream_names",
]
