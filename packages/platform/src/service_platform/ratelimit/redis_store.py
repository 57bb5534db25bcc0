"""Store rate limit counts in Redis or Valkey, shared by all processes.

All hits of one turn of the event loop are sent together as one script call, in a cluster one for
each hash slot. The server decides them one after the other, on its own clock.
"""

import asyncio
import math
import time
from collections.abc import Sequence
from typing import Final, cast

import hiredis
from pydantic import SecretStr

from service_platform.ratelimit.caller import RateLimitCaller, key_part
from service_platform.ratelimit.circuit_breaker import CircuitBreaker, error_kind
from service_platform.ratelimit.cluster import Cluster
from service_platform.ratelimit.compiled_policies import CompiledPolicies
from service_platform.ratelimit.effective_policy import EffectivePolicy
from service_platform.ratelimit.lua_scripts import HIT, LuaScript
from service_platform.ratelimit.metrics import call_duration, redis_errors
from service_platform.ratelimit.pending_hit import PendingHit
from service_platform.ratelimit.pipelined_connection import (
    OverdueError,
    PipelinedConnection,
    Reply,
    discard_reply,
    encode_command,
)
from service_platform.ratelimit.policy import Policy
from service_platform.ratelimit.redis_address import RedisAddress
from service_platform.redis_connection import unsupported
from service_platform.resources import StartError

MAX_HITS_PER_CALL: Final = 128
"""A script blocks the server while it runs, for some microseconds for each key."""

CONNECT_TIMEOUT_SECONDS: Final = 1.0
MAX_REDIRECTS: Final = 3

CLUSTER_REFUSAL_TTL_SECONDS: Final = 1.0
"""In a cluster, units that another request holds until its rollback come back before the reset."""

_ERRORS_OF_ONE_CALL: Final = frozenset({"ERR", "WRONGTYPE", "ASK", "TRYAGAIN", "BUSY"})
"""Error codes that say nothing about the next call."""

_ERRORS_OF_ONE_SLOT: Final = frozenset({"MOVED", "CLUSTERDOWN"})
"""Error codes that say nothing about the node in a cluster; elsewhere it is the wrong server."""

_ASKING: Final = encode_command("ASKING")


class RedisStore:
    """Count hits in one Redis server or one Redis Cluster.

    Args:
        url: as redis-py parses it; whether it is a cluster is detected.
        service: name of the service; services that share a Redis count apart.
        timeout: seconds that a reply may take.
        script: decides hits.
    """

    def __init__(
        self, url: SecretStr, *, service: str, timeout: float, script: LuaScript = HIT
    ) -> None:
        self._service = key_part(service)
        self._script = script
        self._timeout = timeout
        self._seed = CircuitBreaker(
            RedisAddress.from_url(url), timeout=timeout, handshake=self._handshake_with_seed
        )
        self._cluster: Cluster | None = None
        self._mode = ""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pending: list[PendingHit] = []

    async def start(self) -> None:
        """Connect, and wait a moment for it. Redis may be unavailable.

        Raises:
            StartError: the address is that of a Sentinel.
        """
        self._loop = asyncio.get_running_loop()
        self._seed.start()
        await self._seed.wait_for_first_attempt(CONNECT_TIMEOUT_SECONDS)
        if self._mode == "sentinel":
            await self.stop()
            raise StartError(unsupported("sentinel"))

    async def stop(self) -> None:
        """Close every connection."""
        if self._cluster is not None:
            await self._cluster.stop()
            self._cluster = None
        await self._seed.stop()

    @property
    def is_available(self) -> bool:
        """Return whether Redis decides now, in a cluster for every caller."""
        if self._cluster is not None:
            return self._cluster.is_available
        return self._seed.is_closed

    @property
    def is_partly_available(self) -> bool:
        """Return whether Redis decides now, in a cluster possibly just for some callers."""
        return self._cluster is not None or self._seed.is_closed

    @property
    def refusal_ttl(self) -> float:
        """Return for how many seconds a refusal may be cached, if its reset is not earlier."""
        return math.inf if self._cluster is None else CLUSTER_REFUSAL_TTL_SECONDS

    def keys(
        self, policies: tuple[EffectivePolicy, ...], caller: RateLimitCaller
    ) -> tuple[str, ...]:
        """Return the Redis keys of a caller.

        Braces delimit the hash tag, so all keys with the same `by` are in one slot of a cluster.
        """
        service = self._service
        return tuple(
            [
                f"rl:{{{service}:{caller.key_for(policy.by)}}}:{policy.counter_key}"
                for policy in policies
            ]
        )

    def submit(self, hit: PendingHit) -> None:
        """Send a hit at the end of this turn of the event loop, together with all others."""
        pending = self._pending
        pending.append(hit)
        if len(pending) == 1:
            assert self._loop is not None, "start() comes first"  # noqa: S101
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        pending, self._pending = self._pending, []
        if self._cluster is None:
            self._send_all(self._seed, pending)
            return
        for slot, hits in self._cluster.group_by_slot(pending).items():
            self._send_all(self._cluster.node_for_slot(slot), hits)

    def _send_all(self, node: CircuitBreaker | None, hits: Sequence[PendingHit]) -> None:
        for start in range(0, len(hits), MAX_HITS_PER_CALL):
            batch = hits[start : start + MAX_HITS_PER_CALL]
            if node is None:
                self._resolve_without_result(batch)
            else:
                self._send(node, batch)

    def _send(
        self,
        node: CircuitBreaker,
        hits: Sequence[PendingHit],
        *,
        with_source: bool = False,
        asking: bool = False,
        redirects: int = 0,
    ) -> None:
        sent = time.perf_counter()

        def on_reply(reply: Reply) -> None:
            if isinstance(reply, list):
                call_duration.observe(time.perf_counter() - sent)
                _resolve_all(hits, reply)
            elif isinstance(reply, hiredis.ReplyError):
                self._handle_error(node, hits, reply, with_source, redirects)
            else:
                self._resolve_without_result(hits)

        if asking:
            node.send(_ASKING, discard_reply)
        node.send(self._script.command(hits, with_source=with_source), on_reply)

    def _handle_error(
        self,
        node: CircuitBreaker,
        hits: Sequence[PendingHit],
        error: hiredis.ReplyError,
        with_source: bool,
        redirects: int,
    ) -> None:
        """Retry after NOSCRIPT, MOVED and ASK; a call that failed with them has counted nothing."""
        kind = error_kind(error)
        redis_errors.labels(kind).inc()
        if kind == "NOSCRIPT" and not with_source:
            self._send(node, hits, with_source=True, redirects=redirects)
            return
        if kind in {"MOVED", "ASK"} and self._cluster is not None and redirects < MAX_REDIRECTS:
            target = self._cluster.redirect(error)
            if target is not None:
                self._send(target, hits, asking=kind == "ASK", redirects=redirects + 1)
                return
        elif kind not in _ERRORS_OF_ONE_CALL and not (
            self._cluster and kind in _ERRORS_OF_ONE_SLOT
        ):
            node.trip(error)
        self._resolve_without_result(hits)

    def _resolve_without_result(self, hits: Sequence[PendingHit]) -> None:
        for hit in hits:
            hit.resolve(hit, None)

    async def _handshake_with_seed(self, connection: PipelinedConnection) -> None:
        """Authenticate with the node of the URL, and detect whether it belongs to a cluster."""
        self._mode = await _handshake(connection, self._seed.address)
        if self._mode != "cluster":
            await self._require_writable(connection)
            return
        if self._cluster is None:
            self._cluster = Cluster(
                self._seed, timeout=self._timeout, handshake=self._handshake_with_node
            )
        await self._cluster.start(connection)

    async def _handshake_with_node(self, connection: PipelinedConnection) -> None:
        await _handshake(connection, self._seed.address)
        await connection.execute("SCRIPT", "LOAD", self._script.source)

    async def _require_writable(self, connection: PipelinedConnection) -> None:
        """Count a hit, because a replica and a full server accept connections but no writes."""
        probe = Policy.parse("10000/second", algorithm="gcra", name="probe")
        policies = CompiledPolicies((probe,)).policies
        keys = self.keys(policies, RateLimitCaller(""))
        hit = PendingHit(policies, keys, 1, lambda *_: None)
        reply = await connection.execute_encoded(self._script.command([hit], with_source=True))
        if not isinstance(reply, list):
            raise OverdueError("Redis did not reply to the probe with a list.")


def _resolve_all(hits: Sequence[PendingHit], reply: list[int]) -> None:
    """Give each hit its part of the script's reply."""
    server_time, start = reply[0], 1
    for hit in hits:
        end = start + 2 * len(hit.policies)
        hit.server_time = server_time
        hit.resolve(hit, reply[start:end])
        start = end


async def _handshake(connection: PipelinedConnection, address: RedisAddress) -> str:
    """Authenticate and select the database; returns the mode of the server (HELLO).

    Raises:
        hiredis.ReplyError: the password is wrong, or the user lacks permission.
        OSError: there is no reply.
    """
    auth: tuple[str, ...] = ()
    if address.password is not None:
        auth = ("AUTH", address.username or "default", address.password.get_secret_value())
    hello = cast("list[object]", await connection.execute("HELLO", 2, *auth))
    properties = dict(zip(hello[::2], hello[1::2], strict=True))
    if address.database:
        await connection.execute("SELECT", address.database)
    mode = properties.get(b"mode", b"standalone")
    return mode.decode() if isinstance(mode, bytes) else str(mode)
