"""A consumer group of a Redis stream: reading, claiming, acknowledging and retrying its entries."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from service_platform.events.dead_letters import DeadLetterQueue
from service_platform.events.stream import BLOCK_MILLISECONDS, EventStream
from service_platform.events.stream_ids import format_stream_id, parse_stream_id

MAX_PENDING: Final = 10_000


@dataclass(frozen=True, slots=True)
class Delivery:
    """An entry of the stream as it was delivered to a consumer.

    Attributes:
        id: of the entry.
        content: the CloudEvent.
        group: the only group it is for, `None` for all.
        delivery_count: how often it was delivered, where that is known.
    """

    id: bytes
    content: bytes
    group: str | None
    delivery_count: int = 1


class ConsumerGroup:
    """A consumer group and one consumer in it.

    Args:
        client: for Redis.
        stream: name of the stream.
        name: of the group, the consuming service's.
        consumer: name of this consumer within the group; commands need none.
    """

    def __init__(self, client: "Redis", stream: str, name: str, consumer: str = "command") -> None:
        self.client: Any = client  # redis-py types every answer as sync or async
        self.stream = EventStream(client, stream)
        self.name = name
        self.consumer = consumer
        self.dead_letters = DeadLetterQueue(client, self.stream.key, name)
        self._tries_key = f"{self.stream.key}:tries:{name}"
        self._due_key = f"{self.stream.key}:due:{name}"

    async def create(self) -> None:
        """Create the group, at the stream's first entry, where it does not exist."""
        try:
            await self.client.xgroup_create(self.stream.key, self.name, id="0", mkstream=True)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise
        await self.stream.register()

    async def destroy(self) -> None:
        """Delete the group with its position in the stream and its dead letters."""
        pipeline = self.client.pipeline(transaction=True)
        pipeline.xgroup_destroy(self.stream.key, self.name)
        pipeline.delete(self.dead_letters.key, self._tries_key, self._due_key)
        await pipeline.execute()

    async def read(self, client: "Redis", count: int) -> list[Delivery]:
        """Read entries that no consumer of the group was given, waiting a moment for some.

        Args:
            client: one made with `block=True`.
            count: the most to take.
        """
        answer: Any = await client.xreadgroup(
            self.name, self.consumer, {self.stream.key: ">"}, count=count, block=BLOCK_MILLISECONDS
        )
        return _deliveries(answer[0][1]) if answer else []

    async def claim_idle(self, idle_seconds: float, count: int) -> list[Delivery]:
        """Claim entries that another consumer was given and did not acknowledge, oldest first.

        Args:
            idle_seconds: how long ago they were delivered, at least.
            count: the most to take.
        """
        idle = round(idle_seconds * 1000)
        answer = await self.client.xautoclaim(
            self.stream.key,
            self.name,
            self.consumer,
            min_idle_time=idle,
            start_id="0-0",
            count=count,
        )
        claimed = _deliveries(answer[1])
        if not claimed:
            return []
        pending = await self.client.xpending_range(
            self.stream.key,
            self.name,
            min=claimed[0].id,
            max=claimed[-1].id,
            count=count,
            consumername=self.consumer,
        )
        counts = {each["message_id"]: int(each["times_delivered"]) for each in pending}
        return [
            Delivery(each.id, each.content, each.group, counts.get(each.id, 1)) for each in claimed
        ]

    async def claim_due_retries(self, count: int) -> list[Delivery]:
        """Claim entries whose retry is due; each goes to one consumer only."""
        due = await self.client.zrangebyscore(
            self._due_key, 0, round(time.time() * 1000), start=0, num=count
        )
        claimed = []
        for entry_id in due:
            if await self.client.zrem(self._due_key, entry_id):
                claimed += await self.client.xclaim(
                    self.stream.key,
                    self.name,
                    self.consumer,
                    min_idle_time=0,
                    message_ids=[entry_id],
                )
        return _deliveries(claimed)

    async def acknowledge(self, entry_ids: Sequence[bytes]) -> None:
        """Acknowledge entries: they are not delivered or retried again."""
        if not entry_ids:
            return
        pipeline = self.client.pipeline(transaction=True)
        self._acknowledge_in(pipeline, entry_ids)
        await pipeline.execute()

    def _acknowledge_in(self, pipeline: Any, entry_ids: Sequence[bytes]) -> None:
        pipeline.xack(self.stream.key, self.name, *entry_ids)
        pipeline.hdel(self._tries_key, *entry_ids)
        pipeline.zrem(self._due_key, *entry_ids)

    async def count_failure(self, entry_id: bytes) -> int:
        """Count a failed try to apply an entry; return how many there were."""
        return int(await self.client.hincrby(self._tries_key, entry_id, 1))

    async def schedule_retry(self, entry_id: bytes, seconds: float) -> None:
        """Schedule an entry to be tried again after some seconds."""
        due = round((time.time() + seconds) * 1000)
        await self.client.zadd(self._due_key, {entry_id: due})

    async def move_to_dead_letters(self, delivery: Delivery, *, tries: int, reason: str) -> None:
        """Move an entry to the dead-letter queue.

        Args:
            delivery: the entry.
            tries: how often it was tried.
            reason: the kind of failure.
        """
        pipeline = self.client.pipeline(transaction=True)
        self.dead_letters.add(
            pipeline, content=delivery.content, entry_id=delivery.id, tries=tries, reason=reason
        )
        self._acknowledge_in(pipeline, [delivery.id])
        await pipeline.execute()

    async def leave_group(self) -> None:
        """Leave the group; entries this consumer has not acknowledged can be claimed at once."""
        pending = await self.client.xpending_range(
            self.stream.key,
            self.name,
            min="-",
            max="+",
            count=MAX_PENDING,
            consumername=self.consumer,
        )
        if pending:
            await self.client.xclaim(
                self.stream.key,
                self.name,
                self.consumer,
                min_idle_time=0,
                message_ids=[each["message_id"] for each in pending],
                idle=24 * 3_600_000,
                justid=True,
            )
        else:
            # Deleting a consumer with pending entries would drop them from the group's list.
            await self.client.xgroup_delconsumer(self.stream.key, self.name, self.consumer)

    async def consumers(self) -> list[dict[str, Any]]:
        """List the group's consumers, as `XINFO CONSUMERS` returns them."""
        found: list[dict[str, Any]] = await self.client.xinfo_consumers(self.stream.key, self.name)
        return found

    async def remove_idle_consumers(self, idle_seconds: float) -> None:
        """Remove consumers that were idle for long and have no pending entries."""
        for consumer in await self.consumers():
            if not consumer["pending"] and consumer["idle"] > idle_seconds * 1000:
                await self.client.xgroup_delconsumer(self.stream.key, self.name, consumer["name"])

    async def pending_and_lag(self) -> tuple[int, float]:
        """Count the pending entries and measure the group's lag.

        Returns:
            How many entries are delivered and not acknowledged, and the age in seconds of the
            oldest entry that was not applied.
        """
        for group in await self.stream.groups():
            if group["name"] != self.name.encode():
                continue
            oldest = format_stream_id(await self.stream.oldest_unapplied(group))
            first = await self.client.xrange(self.stream.key, min=oldest, count=1)
            age = time.time() - parse_stream_id(first[0][0])[0] / 1000 if first else 0.0
            return int(group["pending"]), max(age, 0.0)
        return 0, 0.0


def _deliveries(entries: Iterable[tuple[bytes, dict[bytes, bytes] | None]]) -> list[Delivery]:
    """Make deliveries of entries; one that was deleted from the stream has no fields."""
    return [
        Delivery(
            entry_id,
            fields.get(b"event", b""),
            group.decode() if (group := fields.get(b"group")) else None,
        )
        for entry_id, fields in entries
        if fields is not None
    ]


__all__ = ["ConsumerGroup", "Delivery"]
