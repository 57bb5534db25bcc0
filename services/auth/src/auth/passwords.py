"""Password hashing: Argon2id in a bounded number of threads, behind a bounded queue."""

import asyncio
import secrets
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from argon2 import PasswordHasher as Argon2
from argon2 import Type
from argon2.exceptions import InvalidHashError, VerificationError
from prometheus_client import Counter, Gauge

from auth.settings import AuthSettings
from service_platform.errors import ServiceUnavailable

T = TypeVar("T")

LONGEST_HASHED: Final = 1_024
"""Characters of a presented password that are hashed; a longer one matches nothing anyway."""

computations = Counter("auth_password_hashes_total", "Argon2id computations.")
refusals = Counter("auth_password_hash_refusals_total", "Computations refused as too many wait.")
waiting = Gauge(
    "auth_password_hashes_waiting", "Computations that wait.", multiprocess_mode="livesum"
)


def normalised(password: str) -> str:
    """Normalize a password to the form that is counted and hashed (NIST SP 800-63B-4, 3.1.1.2)."""
    return unicodedata.normalize("NFKC", password)


class PasswordHasher:
    """Hashes and verifies passwords; a resource, because it has threads.

    At most `PASSWORD_HASH_CONCURRENCY` computations run and `PASSWORD_HASH_QUEUE` wait: the first
    bounds memory, the second waiting time. Argon2 releases Python's global interpreter lock, so the
    event loop goes on meanwhile.
    """

    name = "password_hasher"
    critical = False

    def __init__(self, settings: AuthSettings) -> None:
        self._argon2 = Argon2(
            time_cost=settings.password_hash_time_cost,
            memory_cost=settings.password_hash_memory_kib,
            parallelism=1,
            hash_len=32,
            salt_len=16,
            type=Type.ID,
        )
        self._concurrency = settings.password_hash_concurrency
        self._limit = settings.password_hash_concurrency + settings.password_hash_queue
        self._accepted = 0
        self._executor: ThreadPoolExecutor | None = None
        # Unknown addresses are checked against this: the same work, never a match.
        self._decoy = self._argon2.hash(secrets.token_hex(16))

    async def start(self) -> None:
        """Start the thread pool."""
        self._executor = ThreadPoolExecutor(self._concurrency, thread_name_prefix="argon2")

    async def stop(self) -> None:
        """Shut the thread pool down; computations that wait are cancelled."""
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
            self._executor = None

    async def check(self) -> None:
        """Report healthy always: too many logins are answered 503, they are no outage."""

    async def hash(self, password: str) -> str:
        """Hash a password for storage.

        Raises:
            ServiceUnavailable: where too many computations wait.
        """
        return await self._run(lambda: self._argon2.hash(normalised(password)))

    async def verify(self, password: str, stored: str | None) -> bool:
        """Verify a password against a hash; `None` takes as long and never matches.

        Raises:
            ServiceUnavailable: where too many computations wait.
        """
        text = normalised(password[:LONGEST_HASHED])
        matches = await self._run(lambda: self._matches(stored or self._decoy, text))
        return matches and stored is not None

    def is_outdated(self, stored: str) -> bool:
        """Tell whether the hash was made with other parameters than today's."""
        return self._argon2.check_needs_rehash(stored)

    def _matches(self, stored: str, text: str) -> bool:
        try:
            return self._argon2.verify(stored, text)
        except (VerificationError, InvalidHashError):
            return False

    async def _run(self, compute: Callable[[], T]) -> T:
        if self._executor is None or self._accepted >= self._limit:
            refusals.inc()
            raise ServiceUnavailable(
                "Too many logins at once. Try again in a moment.", retry_after=2
            )
        self._accepted += 1
        waiting.set(max(0, self._accepted - self._concurrency))
        computations.inc()
        future = asyncio.get_running_loop().run_in_executor(self._executor, compute)
        # The place is given back when the computation ends, not when its caller goes away:
        # clients that hang up must not make room for more threads' work.
        future.add_done_callback(self._done)
        return await asyncio.shield(future)

    def _done(self, future: asyncio.Future[T]) -> None:
        self._accepted -= 1
        waiting.set(max(0, self._accepted - self._concurrency))
        if not future.cancelled():
            future.exception()
