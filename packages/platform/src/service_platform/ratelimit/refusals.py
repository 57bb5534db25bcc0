"""Keys that are over their limit, remembered until their reset: refusing them costs no call.

Units only come back by expiring, so what Redis refused stays refused until the time it told,
whatever other processes do meanwhile. The time is counted from before the call was sent: never is
a request refused here that Redis would have let pass.
"""

import math
from typing import Final

from service_platform.ratelimit.plan import Term

MAX_KEYS: Final = 16_384
"""Refused keys of one process; beyond it those refused first are asked about again."""


class Refusal:
    """One refusal.

    Attributes:
        until: event loop time of the reset.
        holds_until: event loop time after which it is not believed any more.
        quota: that was used up; with another quota (tiers) the key must be asked about again.
        cost: that had no room; less may have.
        left: units left.
    """

    __slots__ = ("cost", "holds_until", "left", "quota", "until")

    def __init__(
        self, until: float, quota: int, cost: int, left: int, holds_until: float = math.inf
    ) -> None:
        self.until = until
        self.holds_until = min(until, holds_until)
        self.quota = quota
        self.cost = cost
        self.left = left


class Refusals:
    """Refusals of one process, in two generations of bounded size.

    Args:
        max_keys: remembered at most.
    """

    __slots__ = ("_newer", "_older", "_size")

    def __init__(self, max_keys: int = MAX_KEYS) -> None:
        self._size = max_keys // 2
        self._newer: dict[str, Refusal] = {}
        self._older: dict[str, Refusal] = {}

    def __len__(self) -> int:
        return len(self._newer) + len(self._older)

    def add(self, key: str, refusal: Refusal) -> None:
        """Remember a refusal."""
        if len(self._newer) >= self._size:
            self._older, self._newer = self._newer, {}
        self._newer[key] = refusal

    def find(self, key: str, term: Term, cost: int, now: float) -> Refusal | None:
        """The refusal that holds for this key, if there is one."""
        refusal = self._newer.get(key) or self._older.get(key)
        if refusal is None:
            return None
        if refusal.holds_until <= now:
            self._newer.pop(key, None)
            self._older.pop(key, None)
            return None
        if refusal.quota == term.quota and term.cost * cost >= refusal.cost:
            return refusal
        return None
