"""The in-process store: exact, O(1) amortised for each check, in bounded memory.

It serves a service without Redis, and every service while Redis is away. Time is that of a
monotonic clock in nanoseconds; nothing here waits.
"""

import time
from abc import ABC, abstractmethod
from array import array
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from service_platform.ratelimit.identity import Identity
from service_platform.ratelimit.metrics import keys_forgotten
from service_platform.ratelimit.plan import Term

MAX_KEYS: Final = 65_536
"""Callers remembered by one process, over all policies; each takes about 350 bytes."""

MAX_UNITS: Final = 1_000_000
"""Units remembered by one process, over all callers; each takes 8 to 16 bytes."""

_NANOSECONDS_PER_MICROSECOND: Final = 1_000
_LEAST_MEMORY: Final = 100
"""With less, the request being decided could be the one that has to be forgotten."""

_SPENT_BEFORE_COMPACTION: Final = 64

S = TypeVar("S")


class Bound:
    """The memory of a store, shared by its meters.

    Attributes:
        keys: entries in use.
        units: units in use.
        evicted: entries that had to go although they still counted.
    """

    __slots__ = ("evicted", "keys", "max_keys", "max_units", "meters", "units")

    def __init__(self, max_keys: int, max_units: int) -> None:
        if min(max_keys, max_units) < _LEAST_MEMORY:
            raise ValueError(f"The store needs room for {_LEAST_MEMORY} callers and units.")
        self.max_keys = max_keys
        self.max_units = max_units
        self.keys = 0
        self.units = 0
        self.evicted = 0
        self.meters: list[Meter] = []

    def enforce(self) -> None:
        """Forget the caller idle for longest in the meter that holds most, until all fits."""
        while self.keys > self.max_keys:
            self._evict(max(self.meters, key=len) if len(self.meters) > 1 else self.meters[0])
        while self.units > self.max_units:
            self._evict(max(self.meters, key=lambda meter: meter.units))

    def _evict(self, meter: "Meter") -> None:
        meter.drop_oldest()
        self.evicted += 1
        keys_forgotten.inc()


class Meter(ABC):
    """Counts one policy. Asked in two steps, so that several policies decide together.

    `examine` says whether there is room, `take` takes it; `standing` tells what is left where
    nothing is taken. The last two speak of the key examined last.
    """

    __slots__ = ("bound", "units", "window")

    def __init__(self, bound: Bound, window: int) -> None:
        self.bound = bound
        self.window = window
        self.units = 0
        bound.meters.append(self)

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def examine(self, key: str, now: int, quota: int, cost: int) -> int:
        """Nanoseconds until there is room for `cost`; 0 when there is."""

    @abstractmethod
    def take(self, now: int, quota: int, cost: int) -> tuple[int, int]:
        """Count `cost` for the key examined last; the result is as that of `standing`."""

    @abstractmethod
    def standing(self, now: int, quota: int) -> tuple[int, int]:
        """Units left for the key examined last, and nanoseconds until there may be more."""

    @abstractmethod
    def drop_oldest(self) -> None:
        """Forget the key not asked about for longest."""


class Entries(Meter, Generic[S]):
    """A meter's keys, the one asked about last at the end."""

    __slots__ = ("entries", "key")

    def __init__(self, bound: Bound, window: int) -> None:
        super().__init__(bound, window)
        self.entries: OrderedDict[str, S] = OrderedDict()
        self.key = ""

    def __len__(self) -> int:
        return len(self.entries)

    @abstractmethod
    def is_over(self, entry: S, now: int) -> bool:
        """Whether an entry no longer counts."""

    def admit_key(self, key: str, entry: S, now: int) -> None:
        """Remember a new key; two that no longer count go, so the dead never pile up."""
        entries = self.entries
        for _ in range(2):
            if entries and self.is_over(next(iter(entries.values())), now):
                self.drop_oldest()
        entries[key] = entry
        bound = self.bound
        bound.keys += 1
        if bound.keys > bound.max_keys:
            bound.enforce()


class WindowLog:
    """Times at which units were taken, the oldest first; those before `head` have expired."""

    __slots__ = ("head", "is_new", "stamps")

    def __init__(self) -> None:
        self.stamps = array("q")
        self.head = 0
        self.is_new = True


class WindowMeter(Entries[WindowLog]):
    """Exact sliding window: no half-open interval of its length ever contains more than the quota.

    A unit taken at `t` is free again at `t + window`.
    """

    __slots__ = ("log",)

    def __init__(self, bound: Bound, window: int) -> None:
        super().__init__(bound, window)
        self.log = WindowLog()

    def examine(self, key: str, now: int, quota: int, cost: int) -> int:
        """Drop what expired, then compare; the wait is exact."""
        self.key = key
        log = self.entries.get(key)
        if log is None:
            self.log = WindowLog()
            return 0 if cost <= quota else self.window
        self.log = log
        self.entries.move_to_end(key)
        stamps, head = log.stamps, log.head
        end = len(stamps)
        horizon = now - self.window
        if head < end and stamps[head] <= horizon:
            head = self._expire(log, horizon)
            end = len(stamps)
        excess = end - head + cost - quota
        if excess <= 0:
            return 0
        if cost > quota:
            return self.window
        return stamps[head + excess - 1] + self.window - now

    def _expire(self, log: WindowLog, horizon: int) -> int:
        """Move the head past what expired; give the space back once it is half of the log."""
        stamps, start = log.stamps, log.head
        head, end = start + 1, len(stamps)
        while head < end and stamps[head] <= horizon:
            head += 1
        self.units -= head - start
        self.bound.units -= head - start
        if head == end or (head > _SPENT_BEFORE_COMPACTION and head * 2 > end):
            del stamps[:head]
            head = 0
        log.head = head
        return head

    def take(self, now: int, quota: int, cost: int) -> tuple[int, int]:
        """Append the time once for each unit."""
        log = self.log
        if log.is_new:
            log.is_new = False
            self.admit_key(self.key, log, now)
        stamps = log.stamps
        if cost == 1:
            stamps.append(now)
        else:
            stamps.extend((now,) * cost)
        self.units += cost
        bound = self.bound
        bound.units += cost
        if bound.units > bound.max_units:
            bound.enforce()
        head = log.head
        return quota - len(stamps) + head, stamps[head] + self.window - now

    def standing(self, now: int, quota: int) -> tuple[int, int]:
        """Until there are more means until the oldest unit expires."""
        log = self.log
        stamps, head = log.stamps, log.head
        used = len(stamps) - head
        if not used:
            return quota, 0
        return max(0, quota - used), stamps[head] + self.window - now

    def is_over(self, entry: WindowLog, now: int) -> bool:
        """The newest unit has expired, and so have all before it."""
        return entry.stamps[-1] <= now - self.window if entry.stamps else True

    def drop_oldest(self) -> None:
        """Forget the key and its units."""
        _, log = self.entries.popitem(last=False)
        held = len(log.stamps) - log.head
        log.stamps, log.head, log.is_new = array("q"), 0, True
        self.units -= held
        bound = self.bound
        bound.units -= held
        bound.keys -= 1


class GcraMeter(Entries[int]):
    """Generic cell rate algorithm: the quota at once, then refilled evenly over the window.

    It keeps the time at which all quota is there again (the theoretical arrival time of ITU-T
    I.371), in nanoseconds times the quota, so that nothing is rounded. A meter has one quota.
    """

    __slots__ = ("full_at", "quota")

    def __init__(self, bound: Bound, window: int, quota: int) -> None:
        super().__init__(bound, window)
        self.quota = quota
        self.full_at = 0

    def examine(self, key: str, now: int, quota: int, cost: int) -> int:
        """Compare how far in the future the quota would be full again with the window."""
        self.key = key
        scaled_now = now * quota
        full_at = self.entries.get(key)
        if full_at is not None:
            self.entries.move_to_end(key)
        self.full_at = scaled_now if full_at is None else max(full_at, scaled_now)
        excess = self.full_at - scaled_now + cost * self.window - self.window * quota
        if excess <= 0:
            return 0
        return -(-excess // quota) if cost <= quota else self.window

    def take(self, now: int, quota: int, cost: int) -> tuple[int, int]:
        """Push the time at which the quota is full again."""
        self.full_at += cost * self.window
        key, entries = self.key, self.entries
        if key in entries:
            entries[key] = self.full_at
        else:
            self.admit_key(key, self.full_at, now)
        return self.standing(now, quota)

    def standing(self, now: int, quota: int) -> tuple[int, int]:
        """Until there are more means until all quota is there again."""
        missing = self.full_at - now * quota
        return (self.window * quota - missing) // self.window, -(-missing // quota)

    def is_over(self, entry: int, now: int) -> bool:
        """All quota is there again."""
        return entry <= now * self.quota

    def drop_oldest(self) -> None:
        """Forget the key."""
        self.entries.popitem(last=False)
        self.bound.keys -= 1


class MemoryStore:
    """Counts of this process.

    Args:
        max_keys: callers remembered, over all policies. Beyond it those idle for longest are
            forgotten, and start anew.
        max_units: units remembered, likewise.
        clock: monotonic nanoseconds.
    """

    __slots__ = ("_clock", "_meters", "bound")

    def __init__(
        self,
        *,
        max_keys: int = MAX_KEYS,
        max_units: int = MAX_UNITS,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.bound = Bound(max_keys, max_units)
        self._clock = clock
        self._meters: dict[str, Meter] = {}

    def decide(self, terms: tuple[Term, ...], identity: Identity, cost: int) -> list[int]:
        """Decide all terms of a request, all or nothing.

        Returns:
            Two integers for each term, as the script in Redis answers: units left and the
            microseconds until there are more; where there is no room, units left as `-1 - left`
            and the microseconds until there is.
        """
        now = self._clock()
        if len(terms) == 1:
            return self._decide_one(terms[0], identity, cost, now)
        waits = []
        refused = False
        for term in terms:
            meter = term.meter or self._meter(term)
            wait = meter.examine(identity.counted_by(term.by), now, term.quota, term.cost * cost)
            waits.append(wait)
            if wait and not term.shadow:
                refused = True
        answer = []
        for term, wait in zip(terms, waits, strict=True):
            meter = term.meter or self._meter(term)
            if wait:
                left, reset = -1 - meter.standing(now, term.quota)[0], wait
            elif refused:
                left, reset = meter.standing(now, term.quota)
            else:
                left, reset = meter.take(now, term.quota, term.cost * cost)
            answer.append(left)
            answer.append(-(-reset // _NANOSECONDS_PER_MICROSECOND))
        return answer

    def _decide_one(self, term: Term, identity: Identity, cost: int, now: int) -> list[int]:
        """The same for a single term, by far the most common case, in half the time."""
        meter = term.meter or self._meter(term)
        units = term.cost * cost
        wait = meter.examine(identity.counted_by(term.by), now, term.quota, units)
        if wait:
            left = -1 - meter.standing(now, term.quota)[0]
        else:
            left, wait = meter.take(now, term.quota, units)
        return [left, -(-wait // _NANOSECONDS_PER_MICROSECOND)]

    def _meter(self, term: Term) -> Meter:
        """The meter of a term; roles with different quotas share one."""
        meter = self._meters.get(term.key)
        if meter is None:
            window = term.window * _NANOSECONDS_PER_MICROSECOND
            if term.exact:
                meter = WindowMeter(self.bound, window)
            else:
                meter = GcraMeter(self.bound, window, term.quota)
            self._meters[term.key] = meter
        term.meter = meter
        return meter
