"""Bounds over all connections of a process: how many, and how much of their answers is unread."""

import asyncio
import resource
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

from prometheus_client import Counter, Gauge

from service_platform.logging import get_logger
from service_platform.settings import PlatformSettings

WARNING_SECONDS: Final = 10.0
"""At most one warning in this time."""
REFUSABLE: Final = 32
"""Connections above the limit that are told so; what comes beyond them is closed at once."""
MINIMUM_CONNECTIONS: Final = 16
DESCRIPTORS_OF_LIBRARIES: Final = 32
"""Descriptors left for logs, resolvers, temporary files and the like."""
PATIENCE_SECONDS: Final = 1.0
"""An answer is not called unread before this time: the kernel may take it in the next moment."""

open_connections = Gauge(
    "http_server_open_connections",
    "Connections of clients.",
    multiprocess_mode="livesum",
)
closed_connections = Counter(
    "http_server_connections_closed_total",
    "Connections that the server closed because a bound was reached.",
    ("reason",),
)

log = get_logger("service_platform.server")


class Abortable(Protocol):
    """A connection that can be given up."""

    def abort(self, reason: str) -> None:
        """Close at once; what is not sent is lost."""
        ...


class ConnectionLimit:
    """Counts the connections and decides whether one more is served.

    Args:
        maximum: connections served at a time.
    """

    def __init__(self, maximum: int) -> None:
        self.maximum = maximum
        self.open = 0
        self._refused = 0
        self._warned = float("-inf")

    def enter(self) -> bool:
        """Count a new connection; returns whether it is served."""
        self.open += 1
        open_connections.inc()
        return self.open <= self.maximum

    def leave(self) -> None:
        """Stop counting a connection."""
        self.open -= 1
        open_connections.dec()

    @property
    def exhausted(self) -> bool:
        """Whether there is no descriptor to spare for a polite refusal."""
        return self.open > self.maximum + REFUSABLE

    def warn(self, now: float) -> None:
        """Log that connections are refused, now and then.

        Args:
            now: event loop time.
        """
        self._refused += 1
        closed_connections.labels("connection_limit").inc()
        if now - self._warned >= WARNING_SECONDS:
            log.warning(
                "connections_refused",
                refused=self._refused,
                limit=self.maximum,
                advice="raise MAX_CONNECTIONS and the limit of open files, or add replicas",
            )
            self._warned, self._refused = now, 0


class UnreadAnswers:
    """Bounds the memory of answers that clients do not read, over all connections.

    Args:
        maximum: bytes; above it the connection that has read nothing for longest is closed.

    Attributes:
        total: bytes of answers that wait for their clients.
    """

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self.total = 0
        self._waiting: dict[Abortable, tuple[float, int]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def put(self, connection: Abortable, size: int, loop: asyncio.AbstractEventLoop) -> None:
        """Note how much a client has yet to read, at the start and after each progress."""
        self.remove(connection)
        self._waiting[connection] = (loop.time(), size)
        self.total += size
        if self.total > self._maximum and self._timer is None:
            self._timer = loop.call_later(PATIENCE_SECONDS, self._reduce, loop)

    def remove(self, connection: Abortable) -> None:
        """Forget a connection that is read again, or closed."""
        entry = self._waiting.pop(connection, None)
        if entry is not None:
            self.total -= entry[1]

    def _reduce(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now = loop.time()
        while self.total > self._maximum:
            connection, (since, _) = next(iter(self._waiting.items()))
            if now - since < PATIENCE_SECONDS:
                self._timer = loop.call_later(PATIENCE_SECONDS, self._reduce, loop)
                return
            self.remove(connection)
            connection.abort("unread_answers")


def connection_limit(settings: PlatformSettings) -> int:
    """Return how many connections can be served: the setting, or what open files allow.

    Each connection is a file descriptor. Some are open already, and the pools open others later.
    """
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if allowed == resource.RLIM_INFINITY:
        return settings.max_connections
    in_use = 0
    with suppress(OSError):
        in_use = len(list(Path("/proc/self/fd").iterdir()))
    pools = (
        settings.database_pool_size
        + settings.database_max_overflow
        + settings.redis_max_connections
    )
    spare = allowed - in_use - pools - DESCRIPTORS_OF_LIBRARIES - REFUSABLE
    return min(settings.max_connections, max(MINIMUM_CONNECTIONS, spare))
