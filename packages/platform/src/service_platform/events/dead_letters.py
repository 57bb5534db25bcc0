"""The dead-letter queue of a consumer group: events it could not apply, kept for a replay.

It is a Redis stream beside the stream of events, see `stream.py`. An operator lists it with the
command `dead` and sends its events to their group again with `replay`, see `commands.py`.
"""

from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from service_platform.events.stream_ids import format_stream_id


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that a consumer group could not apply.

    Attributes:
        id: of the entry in the dead-letter queue; its first half is the time in milliseconds.
        content: the CloudEvent.
        tries: how often it was tried.
        reason: the kind of failure.
    """

    id: bytes
    content: bytes
    tries: int
    reason: str


class DeadLetterQueue:
    """The dead letters of one consumer group.

    Args:
        client: for Redis.
        stream_key: key of the stream of events.
        group: name of the consumer group.
    """

    def __init__(self, client: "Redis", stream_key: str, group: str) -> None:
        self._client: Any = client  # redis-py types every answer as sync or async
        self._stream_key = stream_key
        self._group = group
        self.key = f"{stream_key}:dead:{group}"

    def add(
        self, pipeline: Any, *, content: bytes, entry_id: bytes, tries: int, reason: str
    ) -> None:
        """Add a dead letter as one command of a Redis transaction.

        Args:
            pipeline: the transaction; the caller executes it.
            content: the CloudEvent.
            entry_id: of the entry in the stream of events.
            tries: how often it was tried.
            reason: the kind of failure.
        """
        pipeline.xadd(
            self.key, {"event": content, "entry": entry_id, "tries": tries, "reason": reason}
        )

    async def length(self) -> int:
        """Count the dead letters."""
        return int(await self._client.xlen(self.key))

    async def read(self, count: int) -> list[DeadLetter]:
        """Read up to `count` dead letters, oldest first."""
        return [
            DeadLetter(
                entry_id,
                fields[b"event"],
                tries=int(fields.get(b"tries", 0)),
                reason=fields.get(b"reason", b"").decode(),
            )
            for entry_id, fields in await self._client.xrange(self.key, count=count)
        ]

    async def replay(self, letter: DeadLetter) -> None:
        """Move a dead letter back into the stream, as a new entry for this group alone."""
        pipeline = self._client.pipeline(transaction=True)
        pipeline.xdel(self.key, letter.id)
        pipeline.xadd(self._stream_key, {"event": letter.content, "group": self._group})
        await pipeline.execute()

    async def trim(self, *, before_ms: int) -> int:
        """Delete dead letters older than a time in milliseconds since the epoch; return the count.

        Args:
            before_ms: the time.
        """
        oldest = format_stream_id((before_ms, 0))
        return int(await self._client.xtrim(self.key, minid=oldest, approximate=False))


__all__ = ["DeadLetter", "DeadLetterQueue"]
