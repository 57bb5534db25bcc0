"""Ended sessions and closed accounts: heard from a Redis stream, kept in memory, asked per request.

Auth appends to the stream (`auth.broadcast`); every process of every service follows it. What was
heard stays refused while Redis is away. An entry is needed only until the last token it concerns
has expired, so memory and stream are bounded by the lifetime of access tokens.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, cast
from uuid import UUID

from prometheus_client import Counter, Gauge
from redis.asyncio import Redis
from redis.exceptions import RedisError

from service_platform.background import TaskSupervisor
from service_platform.identity.principal import Principal
from service_platform.logging import get_logger
from service_platform.redis_client import connect, refuse_unsupported
from service_platform.resources import HealthCheckError
from service_platform.settings import PlatformSettings

STREAM: Final = "auth:revocations"
MAX_ENTRIES: Final = 100_000
PURGE_SECONDS: Final = 10.0
PAGE: Final = 1_000
BLOCK_MILLISECONDS: Final = 2_000
ANSWER_SECONDS: Final = 2.0
"""What Redis may take beyond the time it was asked to wait, before the connection is given up."""

START_SECONDS: Final = 2.0
FIRST_RETRY_SECONDS: Final = 0.1
LONGEST_RETRY_SECONDS: Final = 2.0

Kind = Literal["session", "token", "account", "all"]
_KINDS: Final = frozenset({"session", "token", "account", "all"})

heard = Counter("identity_revocations_heard_total", "Entries read from the revocation stream.")
remembered = Gauge("identity_revocations", "Revocations in memory.", multiprocess_mode="max")

log = get_logger("service_platform.identity")


@dataclass(frozen=True, slots=True)
class Revocation:
    """One entry of the stream.

    Attributes:
        kind: `session` (one login), `token` (one token that belongs to no session), `account`
            (every session begun until `at`), `all` (every session of everybody begun until `at`).
        subject: id of the session, token, account or client; `None` for `all`.
        at: milliseconds since the epoch.
        until: seconds since the epoch; no token it concerns lives longer.
        spared: the one session of the account that goes on (the one that changed the password).
    """

    kind: Kind
    subject: UUID | None
    at: int
    until: int
    spared: UUID | None = None

    def fields(self) -> dict[str, str]:
        """The fields of the stream entry."""
        fields = {"kind": self.kind, "at": str(self.at), "until": str(self.until)}
        if self.subject is not None:
            fields["id"] = str(self.subject)
        if self.spared is not None:
            fields["spared"] = str(self.spared)
        return fields

    @classmethod
    def of_fields(cls, fields: Mapping[bytes, bytes]) -> "Revocation | None":
        """Read a stream entry; `None` where it has a form this release does not know."""
        try:
            text = {name.decode(): value.decode() for name, value in fields.items()}
            kind = text["kind"]
            if kind not in _KINDS or (kind != "all" and "id" not in text):
                return None
            return cls(
                kind=cast("Kind", kind),
                subject=UUID(text["id"]) if "id" in text else None,
                at=int(text["at"]),
                until=int(text["until"]),
                spared=UUID(text["spared"]) if "spared" in text else None,
            )
        except (KeyError, ValueError):
            return None


@dataclass(frozen=True, slots=True)
class Credential:
    """What of a verified token revocations are about; made once a token, asked once a request.

    Attributes:
        principal: whom the token stands for.
        key: its session, or the token itself where it has none.
        born: when the session (or token) began, in milliseconds since the epoch.
        issued: when the token was made, in milliseconds since the epoch.
    """

    principal: Principal
    key: UUID | None
    born: int
    issued: int

    @classmethod
    def of(cls, principal: Principal) -> "Credential":
        """The credential of a verified token."""
        issued = principal.issued_at * 1000
        key = principal.session_id
        if key is None:
            with contextlib.suppress(ValueError):
                key = UUID(principal.token_id)
        born = key.int >> 80 if key is not None and key.version == 7 else issued
        return cls(principal, key, born, issued)


class RevocationList:
    """Revocations in memory; reading them is a dictionary look-up or two.

    Args:
        max_entries: bound. Beyond it the oldest are folded into one rule that refuses every token
            issued until then: live sessions get a new token by refreshing, dead ones do not.
    """

    def __init__(self, max_entries: int = MAX_ENTRIES) -> None:
        self._max_entries = max_entries
        self._ended: dict[UUID, tuple[int, int]] = {}
        self._accounts: dict[UUID, Revocation] = {}
        self._all_until = 0
        self._folded_until = 0

    def __len__(self) -> int:
        return len(self._ended) + len(self._accounts)

    def apply(self, revocation: Revocation) -> None:
        """Remember a revocation; hearing one again, or out of order, changes nothing."""
        subject = revocation.subject
        if revocation.kind == "all":
            self._all_until = max(self._all_until, revocation.at)
        elif subject is not None and revocation.kind == "account":
            known = self._accounts.get(subject)
            if known is None or known.at < revocation.at:
                self._accounts[subject] = revocation
        elif subject is not None:
            self._ended[subject] = (revocation.at, revocation.until)
        if len(self) > self._max_entries:
            self._fold()

    def refuses(self, credential: Credential) -> bool:
        """Whether the token must not be accepted any more."""
        if credential.key in self._ended:
            return True
        if self._accounts:
            closed = self._accounts.get(credential.principal.subject)
            if (
                closed is not None
                and credential.born <= closed.at
                and (closed.spared is None or closed.spared != credential.key)
            ):
                return True
        return credential.born <= self._all_until or credential.issued <= self._folded_until

    def purge(self, now: float) -> None:
        """Forget what concerns only expired tokens."""
        for key in [key for key, (_, until) in self._ended.items() if until < now]:
            del self._ended[key]
        for key in [key for key, entry in self._accounts.items() if entry.until < now]:
            del self._accounts[key]

    def _fold(self) -> None:
        """Make room for a tenth of the bound."""
        room = max(1, self._max_entries // 10)
        at = {key: entry.at for key, entry in self._accounts.items()}
        at.update((key, entry_at) for key, (entry_at, _) in self._ended.items())
        for key in sorted(at, key=at.__getitem__)[:room]:
            self._folded_until = max(self._folded_until, at[key])
            self._ended.pop(key, None)
            self._accounts.pop(key, None)
        log.warning("revocations_folded", folded=room)


class Revocations:
    """Follows the stream for as long as the process lives; a resource.

    It has a connection of its own, because it waits in it.
    """

    name = "revocations"
    critical = False

    def __init__(self, settings: PlatformSettings, *, max_entries: int = MAX_ENTRIES) -> None:
        self._settings = settings
        self._list = RevocationList(max_entries)
        self._client: Redis | None = None
        self._tasks = TaskSupervisor("revocations")
        self._following = asyncio.Event()
        self._told_away = False

    async def start(self) -> None:
        """Read what the stream holds, then follow it. Without Redis the start goes on after 2 s.

        Raises:
            StartError: Redis is of a kind that cannot be used.
        """
        self._client = connect(
            self._settings,
            answer_within=BLOCK_MILLISECONDS / 1000 + ANSWER_SECONDS,
            connect_within=ANSWER_SECONDS,
            max_connections=1,
            protocol=2,
        )
        deadline = asyncio.get_running_loop().time() + START_SECONDS
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                await refuse_unsupported(self._client)
        self._tasks.run(self._follow)
        self._tasks.every(PURGE_SECONDS, self._purge)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                await self._following.wait()

    async def stop(self) -> None:
        """Stop following."""
        await self._tasks.stop()
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    def refuses(self, credential: Credential) -> bool:
        """Whether the token must not be accepted any more."""
        return self._list.refuses(credential)

    async def check(self) -> None:
        """Raise `HealthCheckError` while nothing new can be heard."""
        if not self._following.is_set():
            raise HealthCheckError("revocations_unavailable")
        self._tasks.check()

    async def _follow(self) -> None:
        delay = FIRST_RETRY_SECONDS
        while True:
            try:
                await self._listen()
            except (RedisError, OSError, TimeoutError) as error:
                if self._following.is_set():
                    delay = FIRST_RETRY_SECONDS
                self._following.clear()
                if not self._told_away:
                    self._told_away = True
                    log.warning("revocations_unavailable", error=type(error).__name__)
                await asyncio.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
                delay = min(delay * 2, LONGEST_RETRY_SECONDS)

    async def _listen(self) -> None:
        """Read the whole stream, then wait for more, until the connection fails.

        The whole of it, also after an interruption: a Redis that came back empty gets its entries
        again from auth, under ids that may be smaller than those already seen.
        """
        client = cast("Redis", self._client)
        last: bytes | str = "0-0"
        while True:
            block = BLOCK_MILLISECONDS if self._following.is_set() else None
            answer: Any = await client.xread({STREAM: last}, count=PAGE, block=block)
            entries = answer[0][1] if answer else []
            for identifier, fields in entries:
                self._hear(fields)
                last = identifier
            if len(entries) < PAGE and not self._following.is_set():
                self._following.set()
                if self._told_away:
                    self._told_away = False
                    log.info("revocations_recovered")

    def _hear(self, fields: Mapping[bytes, bytes]) -> None:
        heard.inc()
        revocation = Revocation.of_fields(fields)
        if revocation is None:
            log.warning("revocation_not_understood")
        elif revocation.until >= time.time():
            self._list.apply(revocation)

    async def _purge(self) -> None:
        self._list.purge(time.time())
        remembered.set(len(self._list))
