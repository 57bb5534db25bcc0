"""Base classes of the rate limit algorithms in process memory, and the bound on their memory."""

from abc import ABC, abstractmethod
from collections import OrderedDict
from typing import Final, Generic, TypeVar

from service_platform.ratelimit.metrics import keys_evicted

MAX_KEYS: Final = 65_536
"""Most keys in one process, over all policies; each takes about 350 bytes."""

MAX_UNITS: Final = 1_000_000
"""Most units in one process, over all keys; each takes 8 to 16 bytes."""

_MIN_CAPACITY: Final = 100
"""With less, eviction could hit the key that is being checked."""

State = TypeVar("State")


class Capacity:
    """Bound the memory that the limiters of one store share.

    Attributes:
        keys: keys in use.
        units: units in use.
        evicted: keys evicted before they had expired.

    Raises:
        ValueError: the bounds are too small to work with.
    """

    __slots__ = ("evicted", "keys", "limiters", "max_keys", "max_units", "units")

    def __init__(self, max_keys: int, max_units: int) -> None:
        if min(max_keys, max_units) < _MIN_CAPACITY:
            raise ValueError(f"The store needs room for {_MIN_CAPACITY} keys and units.")
        self.max_keys = max_keys
        self.max_units = max_units
        self.keys = 0
        self.units = 0
        self.evicted = 0
        self.limiters: list[MemoryLimiter] = []

    def evict(self) -> None:
        """Evict the least recently used keys of the largest limiters until everything fits."""
        while self.keys > self.max_keys:
            limiters = self.limiters
            self._evict_from(limiters[0] if len(limiters) == 1 else max(limiters, key=len))
        while self.units > self.max_units:
            self._evict_from(max(self.limiters, key=lambda limiter: limiter.units))

    def _evict_from(self, limiter: "MemoryLimiter") -> None:
        limiter.remove_least_recently_used()
        self.evicted += 1
        keys_evicted.inc()


class MemoryLimiter(ABC):
    """Count the hits of one policy by key, in process memory.

    A hit takes two steps, so that several policies can decide together: `check`, then `consume`
    where all policies allow it, else `peek`. The last two are about the key checked last.
    All times are integers in nanoseconds.
    """

    __slots__ = ("capacity", "units", "window")

    def __init__(self, capacity: Capacity, window: int) -> None:
        self.capacity = capacity
        self.window = window
        self.units = 0
        capacity.limiters.append(self)

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def check(self, key: str, now: int, quota: int, cost: int) -> int:
        """Return the time until `cost` units are available (retry-after), 0 when they are."""

    @abstractmethod
    def consume(self, now: int, quota: int, cost: int) -> tuple[int, int]:
        """Use `cost` units of the key checked last; returns the same as `peek` afterwards."""

    @abstractmethod
    def peek(self, now: int, quota: int) -> tuple[int, int]:
        """Return the remaining units of the key checked last and the time until its reset."""

    @abstractmethod
    def remove_least_recently_used(self) -> None:
        """Remove the key that has not been checked for longest."""


class LruMemoryLimiter(MemoryLimiter, Generic[State]):
    """Store a state for each key, in the order of their last checks."""

    __slots__ = ("key", "states")

    def __init__(self, capacity: Capacity, window: int) -> None:
        super().__init__(capacity, window)
        self.states: OrderedDict[str, State] = OrderedDict()
        self.key = ""

    def __len__(self) -> int:
        return len(self.states)

    @abstractmethod
    def is_expired(self, state: State, now: int) -> bool:
        """Return whether a key with this state has its whole quota again."""

    def add_key(self, key: str, state: State, now: int) -> None:
        """Store a new key, and remove up to two expired ones so that they cannot accumulate."""
        states = self.states
        for _ in range(2):
            if states and self.is_expired(next(iter(states.values())), now):
                self.remove_least_recently_used()
        states[key] = state
        capacity = self.capacity
        capacity.keys += 1
        if capacity.keys > capacity.max_keys:
            capacity.evict()
