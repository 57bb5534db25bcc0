"""Represent a hit that waits for Redis: may this request take its cost from these keys?"""

from collections.abc import Callable

from service_platform.ratelimit.effective_policy import EffectivePolicy

HitResult = list[int]
"""Two integers for each policy, see `MemoryStore.hit`."""

Resolve = Callable[["PendingHit", HitResult | None], None]
"""Takes a hit and its result, `None` where Redis has not answered."""


class PendingHit:
    """Collect what one request contributes to a script call.

    Args:
        policies: to check.
        keys: Redis keys of the policies, in the same order.
        cost: multiplies the cost of each policy.
        resolve: called exactly once, with this hit and its result.

    Attributes:
        server_time: time of the decision in microseconds, by the clock of the Redis server.
        is_cross_slot: the keys are in several slots of a cluster. A refusal may then be caused by
            units that another request holds until its rollback, and must not be cached for long.
    """

    __slots__ = ("cost", "is_cross_slot", "keys", "policies", "resolve", "server_time")

    def __init__(
        self,
        policies: tuple[EffectivePolicy, ...],
        keys: tuple[str, ...],
        cost: int,
        resolve: Resolve,
    ) -> None:
        self.policies = policies
        self.keys = keys
        self.cost = cost
        self.resolve = resolve
        self.server_time = 0
        self.is_cross_slot = False

    def subset(self, positions: list[int], resolve: Resolve) -> "PendingHit":
        """Return a hit on some of the policies."""
        return PendingHit(
            tuple(self.policies[position] for position in positions),
            tuple(self.keys[position] for position in positions),
            self.cost,
            resolve,
        )
