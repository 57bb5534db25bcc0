"""Count hits in memory with GCRA (generic cell rate algorithm, ITU-T I.371).

GCRA stores one number for each key, the theoretical arrival time: the time at which the whole quota
is available again. It is a leaky bucket that allows bursts up to the quota.
"""

from service_platform.ratelimit.memory_limiter import Capacity, LruMemoryLimiter


class GcraLimiter(LruMemoryLimiter[int]):
    """Limit hits by GCRA: the whole quota at once, then refilled evenly over the window.

    The theoretical arrival time is stored in nanoseconds times the quota, so that nothing is
    rounded. Therefore a limiter has exactly one quota.
    """

    __slots__ = ("arrival_time", "quota")

    def __init__(self, capacity: Capacity, window: int, quota: int) -> None:
        super().__init__(capacity, window)
        self.quota = quota
        self.arrival_time = 0

    def check(self, key: str, now: int, quota: int, cost: int) -> int:
        """Return the time until `cost` units are available, 0 when they are."""
        self.key = key
        scaled_now = now * quota
        arrival_time = self.states.get(key)
        if arrival_time is not None:
            self.states.move_to_end(key)
        self.arrival_time = scaled_now if arrival_time is None else max(arrival_time, scaled_now)
        excess = self.arrival_time - scaled_now + cost * self.window - self.window * quota
        if excess <= 0:
            return 0
        return -(-excess // quota) if cost <= quota else self.window

    def consume(self, now: int, quota: int, cost: int) -> tuple[int, int]:
        """Advance the theoretical arrival time; returns remaining units and reset."""
        self.arrival_time += cost * self.window
        key, states = self.key, self.states
        if key in states:
            states[key] = self.arrival_time
        else:
            self.add_key(key, self.arrival_time, now)
        return self.peek(now, quota)

    def peek(self, now: int, quota: int) -> tuple[int, int]:
        """Return remaining units, and the time until the whole quota is available again."""
        missing = self.arrival_time - now * quota
        return (self.window * quota - missing) // self.window, -(-missing // quota)

    def is_expired(self, state: int, now: int) -> bool:
        """Return whether the whole quota is available again."""
        return state <= now * self.quota

    def remove_least_recently_used(self) -> None:
        """Remove the key that has not been checked for longest."""
        self.states.popitem(last=False)
        self.capacity.keys -= 1
