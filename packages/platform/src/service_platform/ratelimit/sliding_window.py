"""Count hits in memory with the exact sliding window log: a timestamp for every used unit.

A check takes constant time on average, whatever the quota: expired timestamps are dropped once.
"""

from array import array
from typing import Final

from service_platform.ratelimit.memory_limiter import Capacity, LruMemoryLimiter

_MIN_EXPIRED_TO_COMPACT: Final = 64


class SlidingWindowLog:
    """Keep the timestamps of used units, oldest first; those before `head` have expired."""

    __slots__ = ("head", "is_new", "timestamps")

    def __init__(self) -> None:
        self.timestamps = array("q")
        self.head = 0
        self.is_new = True


class SlidingWindowLimiter(LruMemoryLimiter[SlidingWindowLog]):
    """Limit hits by an exact sliding window.

    No half-open interval as long as the window ever contains more units than the quota: a unit
    used at `t` is available again at `t + window`.
    """

    __slots__ = ("log",)

    def __init__(self, capacity: Capacity, window: int) -> None:
        super().__init__(capacity, window)
        self.log = SlidingWindowLog()

    def check(self, key: str, now: int, quota: int, cost: int) -> int:
        """Return the exact time until `cost` units are available, 0 when they are."""
        self.key = key
        log = self.states.get(key)
        if log is None:
            self.log = SlidingWindowLog()
            return 0 if cost <= quota else self.window
        self.log = log
        self.states.move_to_end(key)
        timestamps, head = log.timestamps, log.head
        end = len(timestamps)
        expired_until = now - self.window
        if head < end and timestamps[head] <= expired_until:
            head = self._expire(log, expired_until)
            end = len(timestamps)
        excess = end - head + cost - quota
        if excess <= 0:
            return 0
        if cost > quota:
            return self.window
        return timestamps[head + excess - 1] + self.window - now

    def _expire(self, log: SlidingWindowLog, expired_until: int) -> int:
        """Move the head past expired timestamps; compact the log when they are half of it."""
        timestamps, start = log.timestamps, log.head
        head, end = start + 1, len(timestamps)
        while head < end and timestamps[head] <= expired_until:
            head += 1
        self.units -= head - start
        self.capacity.units -= head - start
        if head == end or (head > _MIN_EXPIRED_TO_COMPACT and head * 2 > end):
            del timestamps[:head]
            head = 0
        log.head = head
        return head

    def consume(self, now: int, quota: int, cost: int) -> tuple[int, int]:
        """Append the timestamp once for each unit; returns remaining units and reset."""
        log = self.log
        if log.is_new:
            log.is_new = False
            self.add_key(self.key, log, now)
        timestamps = log.timestamps
        if cost == 1:
            timestamps.append(now)
        else:
            timestamps.extend((now,) * cost)
        self.units += cost
        capacity = self.capacity
        capacity.units += cost
        if capacity.units > capacity.max_units:
            capacity.evict()
        head = log.head
        return quota - len(timestamps) + head, timestamps[head] + self.window - now

    def peek(self, now: int, quota: int) -> tuple[int, int]:
        """Return remaining units, and the time until the oldest used unit expires."""
        log = self.log
        timestamps, head = log.timestamps, log.head
        used = len(timestamps) - head
        if not used:
            return quota, 0
        return max(0, quota - used), timestamps[head] + self.window - now

    def is_expired(self, state: SlidingWindowLog, now: int) -> bool:
        """Return whether the newest timestamp has expired, and so all others."""
        return state.timestamps[-1] <= now - self.window if state.timestamps else True

    def remove_least_recently_used(self) -> None:
        """Remove the key that has not been checked for longest, with its timestamps."""
        _, log = self.states.popitem(last=False)
        units = len(log.timestamps) - log.head
        log.timestamps, log.head, log.is_new = array("q"), 0, True
        self.units -= units
        capacity = self.capacity
        capacity.units -= units
        capacity.keys -= 1
