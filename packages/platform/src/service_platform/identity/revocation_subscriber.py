"""The revocation subscriber: reads revocations from their Redis stream into memory.

Auth appends to the stream (`auth.broadcast`); every process of every service reads it. What was
read stays revoked while Redis is away. An entry is needed only until the last token it concerns
has expired, so memory and stream are bounded by the lifetime of access tokens.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Mapping
from typing import Any, Final, cast

from prometheus_client import Counter, Gauge
from redis.asyncio import Redis
from redis.exceptions import RedisError

from service_platform.background import TaskSupervisor
from service_platform.identity.revocation import STREAM, Revocation
from service_platform.identity.revocation_list import MAX_ENTRIES, RevocationList, VerifiedToken
from service_platform.logging import get_logger
from service_platform.redis_client import connect, refuse_unsupported
from service_platform.resources import HealthCheckError
from service_platform.settings import PlatformSettings

REMOVE_EXPIRED_SECONDS: Final = 10.0
BATCH: Final = 1_000
BLOCK_MILLISECONDS: Final = 2_000
RESPONSE_SECONDS: Final = 2.0
"""What Redis may take beyond the time it was asked to block, before the connection is closed."""

START_SECONDS: Final = 2.0
FIRST_RETRY_SECONDS: Final = 0.1
LONGEST_RETRY_SECONDS: Final = 2.0

entries_read = Counter(
    "identity_revocations_heard_total", "Entries read from the revocation stream."
)
entries_in_memory = Gauge("identity_revocations", "Revocations in memory.", multiprocess_mode="max")

log = get_logger("service_platform.identity")


class RevocationSubscriber:
    """Reads the revocation stream in the background; a resource.

    It has a connection of its own, because its reads block.

    Args:
        settings: the address of Redis.
        max_entries: bound of the revocation list.
    """

    name = "revocations"
    critical = False

    def __init__(self, settings: PlatformSettings, *, max_entries: int = MAX_ENTRIES) -> None:
        self._settings = settings
        self._list = RevocationList(max_entries)
        self._client: Redis | None = None
        self._tasks = TaskSupervisor("revocations")
        self._up_to_date = asyncio.Event()
        self._outage_logged = False

    async def start(self) -> None:
        """Read the stream, then wait for new entries in the background.

        Without Redis the start goes on after 2 s.

        Raises:
            StartError: Redis is of a kind that cannot be used.
        """
        self._client = connect(
            self._settings,
            answer_within=BLOCK_MILLISECONDS / 1000 + RESPONSE_SECONDS,
            connect_within=RESPONSE_SECONDS,
            max_connections=1,
            protocol=2,
        )
        deadline = asyncio.get_running_loop().time() + START_SECONDS
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                await refuse_unsupported(self._client)
        self._tasks.run(self._subscribe)
        self._tasks.every(REMOVE_EXPIRED_SECONDS, self._remove_expired)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                await self._up_to_date.wait()

    async def stop(self) -> None:
        """Stop reading and close the connection."""
        await self._tasks.stop()
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    def is_revoked(self, token: VerifiedToken) -> bool:
        """Return whether the token, its session or its account was revoked."""
        return self._list.is_revoked(token)

    async def check(self) -> None:
        """Raise `HealthCheckError` while the stream cannot be read."""
        if not self._up_to_date.is_set():
            raise HealthCheckError("revocations_unavailable")
        self._tasks.check()

    async def _subscribe(self) -> None:
        """Read the stream for as long as the process lives, also after failures."""
        delay = FIRST_RETRY_SECONDS
        while True:
            try:
                await self._read_until_failure()
            except (RedisError, OSError, TimeoutError) as error:
                if self._up_to_date.is_set():
                    delay = FIRST_RETRY_SECONDS
                self._up_to_date.clear()
                if not self._outage_logged:
                    self._outage_logged = True
                    log.warning("revocations_unavailable", error=type(error).__name__)
                await asyncio.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
                delay = min(delay * 2, LONGEST_RETRY_SECONDS)

    async def _read_until_failure(self) -> None:
        """Read the whole stream, then wait for new entries, until the connection fails.

        The whole of it, also after an interruption: a Redis that came back empty gets its entries
        again from auth, under ids that may be smaller than those already seen.
        """
        client = cast("Redis", self._client)
        last: bytes | str = "0-0"
        while True:
            block = BLOCK_MILLISECONDS if self._up_to_date.is_set() else None
            answer: Any = await client.xread({STREAM: last}, count=BATCH, block=block)
            entries = answer[0][1] if answer else []
            for entry_id, fields in entries:
                self._add(fields)
                last = entry_id
            if len(entries) < BATCH and not self._up_to_date.is_set():
                self._up_to_date.set()
                if self._outage_logged:
                    self._outage_logged = False
                    log.info("revocations_recovered")

    def _add(self, fields: Mapping[bytes, bytes]) -> None:
        entries_read.inc()
        revocation = Revocation.from_fields(fields)
        if revocation is None:
            log.warning("revocation_not_understood")
        elif revocation.until >= time.time():
            self._list.add(revocation)

    async def _remove_expired(self) -> None:
        self._list.remove_expired(time.time())
        entries_in_memory.set(len(self._list))
