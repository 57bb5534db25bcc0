"""Route commands in a Redis Cluster: hash slots, MOVED and ASK redirections, topology refresh.

See the cluster specification of Redis: https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/
"""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Final, cast

import hiredis
from redis.crc import key_slot

from service_platform.ratelimit.circuit_breaker import CircuitBreaker, Handshake
from service_platform.ratelimit.cross_slot import CrossSlotHit
from service_platform.ratelimit.pending_hit import PendingHit
from service_platform.ratelimit.pipelined_connection import PipelinedConnection, Reply

TOPOLOGY_REFRESH_SECONDS: Final = 30.0
TOPOLOGY_REFRESH_SECONDS_WHILE_DEGRADED: Final = 0.5


def slot_of(key: str) -> int:
    """Return the hash slot of a key; of a key with a hash tag (in braces) only the tag counts."""
    return key_slot(key.encode("ascii"))


class Cluster:
    """Keep connections to the primaries of a cluster, and know which of them serves which slot.

    Args:
        seed: the node of the URL, asked for the topology when no other node is available.
        timeout: see `CircuitBreaker`.
        handshake: see `CircuitBreaker`.
    """

    def __init__(self, seed: CircuitBreaker, *, timeout: float, handshake: Handshake) -> None:
        self._seed = seed
        self._timeout = timeout
        self._handshake = handshake
        self._nodes: dict[str, CircuitBreaker] = {}
        self._slots: dict[int, CircuitBreaker] = {}
        self._slot_ranges: list[tuple[int, int, CircuitBreaker]] = []
        self._refresh_requested = asyncio.Event()
        self._refresh_task: asyncio.Task[None] | None = None
        self._stop_tasks: set[asyncio.Task[None]] = set()

    async def start(self, connection: PipelinedConnection) -> None:
        """Load the topology over a new connection to the seed, and connect to every primary.

        Raises:
            hiredis.ReplyError: the node replied with an error.
            OSError: the node did not reply.
        """
        self._update_topology(await connection.execute("CLUSTER", "SLOTS"))
        await asyncio.gather(*(node.wait_for_first_attempt() for node in self._nodes.values()))
        if self._refresh_task is None:
            self._refresh_task = asyncio.create_task(
                self._refresh_topology(), name="redis cluster topology"
            )

    async def stop(self) -> None:
        """Close all connections but that to the seed."""
        if self._refresh_task is not None:
            self._refresh_task.cancel()
            with suppress(asyncio.CancelledError):
                await self._refresh_task
            self._refresh_task = None
        await asyncio.gather(*(node.stop() for node in self._nodes.values()), *self._stop_tasks)
        self._nodes.clear()

    @property
    def is_available(self) -> bool:
        """Return whether every slot can be used."""
        return bool(self._slot_ranges) and all(node.is_closed for node in self._nodes.values())

    def node_for_slot(self, slot: int) -> CircuitBreaker | None:
        """Return the primary of a slot, `None` where the topology has none."""
        node = self._slots.get(slot)
        if node is None:
            for first, last, primary in self._slot_ranges:
                if first <= slot <= last:
                    node = self._slots[slot] = primary
                    break
        return node

    def redirect(self, error: hiredis.ReplyError) -> CircuitBreaker | None:
        """Return the node that a MOVED or ASK error redirects to, `None` for a malformed one.

        MOVED also changes the slot's primary and requests a refresh of the topology.
        """
        kind, _, rest = str(error).partition(" ")
        slot, _, address = rest.partition(" ")
        host, _, port = address.rpartition(":")
        if not port.isdigit() or not slot.isdigit():
            return None
        node = self._node_at(host or self._seed.address.host, int(port))
        if kind == "MOVED":
            self._slots[int(slot)] = node
            self._refresh_requested.set()
        return node

    def group_by_slot(self, hits: Iterable[PendingHit]) -> dict[int, list[PendingHit]]:
        """Group hits by their slot; a hit with keys in several slots becomes one for each."""
        groups: dict[int, list[PendingHit]] = {}
        for hit in hits:
            slots = [slot_of(key) for key in hit.keys]
            if len(set(slots)) == 1:
                groups.setdefault(slots[0], []).append(hit)
                continue
            for slot, part in CrossSlotHit(hit, slots, self.node_for_slot).parts.items():
                groups.setdefault(slot, []).append(part)
        return groups

    def _update_topology(self, reply: Reply) -> None:
        """Apply a reply to `CLUSTER SLOTS`, and disconnect from nodes that serve no slot."""
        ranges = []
        for first, last, primary, *_ in cast("list[list[object]]", reply):
            host, port = cast("list[object]", primary)[:2]
            name = host.decode() if isinstance(host, bytes) and host else self._seed.address.host
            node = self._node_at(name, int(str(port)))
            ranges.append((cast("int", first), cast("int", last), node))
        self._slot_ranges = ranges
        self._slots.clear()
        in_use = {id(node) for _, _, node in ranges}
        for address, node in list(self._nodes.items()):
            if id(node) not in in_use:
                del self._nodes[address]
                task = asyncio.create_task(node.stop())
                self._stop_tasks.add(task)
                task.add_done_callback(self._stop_tasks.discard)

    def _node_at(self, host: str, port: int) -> CircuitBreaker:
        address = self._seed.address.with_host(host, port)
        node = self._nodes.get(str(address))
        if node is None:
            node = self._nodes[str(address)] = CircuitBreaker(
                address, timeout=self._timeout, handshake=self._handshake
            )
            node.start()
        return node

    async def _refresh_topology(self) -> None:
        """Refresh the topology regularly, after MOVED, and often while a node is unavailable."""
        while True:
            self._refresh_requested.clear()
            pause = (
                TOPOLOGY_REFRESH_SECONDS
                if self.is_available
                else TOPOLOGY_REFRESH_SECONDS_WHILE_DEGRADED
            )
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._refresh_requested.wait()
            for node in (*self._nodes.values(), self._seed):
                if node.is_closed:
                    with suppress(OSError, hiredis.HiredisError):
                        self._update_topology(await node.execute("CLUSTER", "SLOTS"))
                    break
