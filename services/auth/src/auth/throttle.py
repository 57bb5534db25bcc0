"""Throttles logins, to slow the guessing of passwords down without locking anybody out.

Failed logins are counted three ways. For one account from one network address (a pair), and for one
network address, tries that come too early are answered like a wrong password, without checking it;
the wait grows with every failure to at most 30 seconds for a pair, and 60 for an address. For one
account from anywhere, answers are only delayed, by four seconds at most, and not at all for network
addresses the account has logged in from before: guessing from many addresses makes a login slow,
not impossible. All of this holds for e-mail addresses without an account too, so that nothing can
be learned from it.
"""

import asyncio
import hashlib
import hmac
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Any, Final, Protocol

from prometheus_client import Counter
from redis.asyncio import Redis
from redis.exceptions import RedisError

from service_platform.encryption import derived_key
from service_platform.logging import get_logger

WINDOW_SECONDS: Final = 900
"""Failures are forgotten this long after the last one."""

TRUST_SECONDS: Final = 30 * 86_400
"""How long an address is known as one the account has logged in from."""

MAX_DELAYED: Final = 1_000
"""Requests held back at once in one process; beyond it nobody waits."""

MAX_REMEMBERED: Final = 20_000
RETRY_REDIS_SECONDS: Final = 5.0

throttled = Counter("auth_logins_throttled_total", "Logins refused or delayed.", ("how",))
_refused, _delayed = throttled.labels("refused"), throttled.labels("delayed")

log = get_logger("auth.throttle")


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait after so many failures.

    Attributes:
        free: failures without any wait.
        first: seconds after the next one; each further one doubles it.
        longest: bound in seconds.
    """

    free: int
    first: float
    longest: float

    def seconds(self, failures: int) -> float:
        """Return the wait after so many failures."""
        if failures <= self.free:
            return 0.0
        return float(min(self.first * 2 ** min(failures - self.free - 1, 32), self.longest))


PAIR: Final = Backoff(free=5, first=1.0, longest=30.0)
ADDRESS: Final = Backoff(free=30, first=1.0, longest=60.0)
ACCOUNT: Final = Backoff(free=10, first=0.25, longest=4.0)


@dataclass(frozen=True, slots=True)
class Attempt:
    """The names of the counters of one login, which do not reveal the e-mail address."""

    pair: str
    address: str
    account: str
    trust: str


@dataclass(frozen=True, slots=True)
class Failures:
    """How often a login failed, and when last (seconds since the epoch)."""

    count: int = 0
    last: float = 0.0


@dataclass(frozen=True, slots=True)
class Record:
    """The counters of one login."""

    pair: Failures
    address: Failures
    account: Failures
    trusted: bool


class Store(Protocol):
    """A store that counts failed logins."""

    async def read(self, attempt: Attempt) -> Record:
        """Return the counters of a login."""

    async def failed(self, attempt: Attempt, now: float) -> None:
        """Count one more failure."""

    async def succeeded(self, attempt: Attempt) -> None:
        """Forget the pair's failures and trust its address."""


class RedisStore:
    """Counts failed logins in Redis, for all replicas. Every operation is one round trip."""

    def __init__(self, client: Callable[[], "Redis"]) -> None:
        self._client = client

    async def read(self, attempt: Attempt) -> Record:
        """See `Store.read`."""
        pipeline = self._client().pipeline(transaction=False)
        for key in (attempt.pair, attempt.address, attempt.account):
            pipeline.hmget(key, ["n", "at"])
        pipeline.exists(attempt.trust)
        pair, address, account, trusted = await pipeline.execute()
        return Record(_failures(pair), _failures(address), _failures(account), bool(trusted))

    async def failed(self, attempt: Attempt, now: float) -> None:
        """See `Store.failed`."""
        pipeline = self._client().pipeline(transaction=True)
        for key in (attempt.pair, attempt.address, attempt.account):
            pipeline.hincrby(key, "n", 1)
            pipeline.hset(key, "at", f"{now:.3f}")
            pipeline.expire(key, WINDOW_SECONDS)
        await pipeline.execute()

    async def succeeded(self, attempt: Attempt) -> None:
        """See `Store.succeeded`."""
        pipeline = self._client().pipeline(transaction=False)
        pipeline.delete(attempt.pair)
        pipeline.set(attempt.trust, 1, ex=TRUST_SECONDS)
        await pipeline.execute()


class MemoryStore:
    """Counts failed logins in this process, while Redis is away; drops the oldest first."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._failures: OrderedDict[str, Failures] = OrderedDict()
        self._trusted: OrderedDict[str, float] = OrderedDict()

    async def read(self, attempt: Attempt) -> Record:
        """See `Store.read`."""
        return Record(
            self._get(attempt.pair),
            self._get(attempt.address),
            self._get(attempt.account),
            self._trusted.get(attempt.trust, 0.0) > self._clock(),
        )

    async def failed(self, attempt: Attempt, now: float) -> None:
        """See `Store.failed`."""
        for key in (attempt.pair, attempt.address, attempt.account):
            self._failures[key] = Failures(self._get(key).count + 1, now)
            self._failures.move_to_end(key)
        while len(self._failures) > MAX_REMEMBERED:
            self._failures.popitem(last=False)

    async def succeeded(self, attempt: Attempt) -> None:
        """See `Store.succeeded`."""
        self._failures.pop(attempt.pair, None)
        self._trusted[attempt.trust] = self._clock() + TRUST_SECONDS
        while len(self._trusted) > MAX_REMEMBERED:
            self._trusted.popitem(last=False)

    def _get(self, key: str) -> Failures:
        found = self._failures.get(key)
        if found is None or found.last + WINDOW_SECONDS < self._clock():
            return Failures()
        return found


class LoginThrottle:
    """Decides whether a login is checked now, later, or refused unchecked.

    Args:
        secret_keys: names of counters are made with the first, so that Redis holds no addresses.
        client: gives the Redis client when it is needed; `None` counts in this process only.
        clock: seconds since the epoch.
        sleep: waits; another one in tests.
    """

    def __init__(
        self,
        secret_keys: Sequence[str],
        client: Callable[[], "Redis"] | None,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Any] = asyncio.sleep,
    ) -> None:
        self._key = derived_key(secret_keys[0], "auth/login-throttle")
        self._local = MemoryStore(clock)
        self._shared = RedisStore(client) if client is not None else None
        self._clock = clock
        self._sleep = sleep
        self._delayed = 0
        self._redis_away_until = 0.0

    def attempt(self, email_key: str, address: str) -> Attempt:
        """Name the counters of a login to an account (which need not exist) from an address."""
        network = network_of(address)
        account = self._name(email_key)
        pair = self._name(f"{email_key}\n{network}")
        return Attempt(
            pair=f"auth:login:pair:{pair}",
            address=f"auth:login:address:{self._name(network)}",
            account=f"auth:login:account:{account}",
            trust=f"auth:login:trust:{pair}",
        )

    async def admit(self, attempt: Attempt) -> bool:
        """Delay a login where the account is under attack; `False` where it comes too early."""
        record = await self._read(attempt)
        now = self._clock()
        early = now < record.pair.last + PAIR.seconds(record.pair.count)
        if not record.trusted:
            early = early or now < record.address.last + ADDRESS.seconds(record.address.count)
        if early:
            _refused.inc()
            return False
        delay = 0.0 if record.trusted else ACCOUNT.seconds(record.account.count)
        if delay and self._delayed < MAX_DELAYED:
            _delayed.inc()
            self._delayed += 1
            try:
                await self._sleep(delay)
            finally:
                self._delayed -= 1
        return True

    async def failed(self, attempt: Attempt) -> None:
        """Count a wrong password."""
        await self._local.failed(attempt, self._clock())
        await self._on_redis(lambda store: store.failed(attempt, self._clock()))

    async def succeeded(self, attempt: Attempt) -> None:
        """Forget the failures of this account from this network address."""
        await self._local.succeeded(attempt)
        await self._on_redis(lambda store: store.succeeded(attempt))

    async def _read(self, attempt: Attempt) -> Record:
        shared = await self._on_redis(lambda store: store.read(attempt))
        return await self._local.read(attempt) if shared is None else shared

    async def _on_redis(self, use: Callable[[RedisStore], Any]) -> Any:
        """Run an operation on Redis; after a failure Redis is not asked for five seconds."""
        if self._shared is None or self._clock() < self._redis_away_until:
            return None
        try:
            return await use(self._shared)
        except (RedisError, OSError, TimeoutError) as error:
            self._redis_away_until = self._clock() + RETRY_REDIS_SECONDS
            log.warning("login_throttle_local", error=type(error).__name__)
            return None

    def _name(self, text: str) -> str:
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()[:32]


def network_of(address: str) -> str:
    """Return the network an address is counted for: itself, or for IPv6 its /64."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return f"{IPv6Address(int(parsed) >> 64 << 64)}/64"
    return str(parsed)


def _failures(values: Sequence[bytes | None]) -> Failures:
    count, last = values
    if count is None or last is None:
        return Failures()
    return Failures(int(count), float(last))
