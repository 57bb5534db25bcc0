"""Decide a request whose keys are in several hash slots of a cluster, with a rollback.

A script can only use keys of one slot; Redis refuses others with CROSSSLOT. All keys of one caller
have the same hash tag, so almost every request is one call. Only a request with policies by
different things (account and address) may need two. Both parts count; where one is refused, the
other is rolled back. This never exceeds a quota, but until the rollback arrives a caller may seem
to have used more than it has.
"""

from collections.abc import Callable
from functools import partial

from service_platform.ratelimit.circuit_breaker import CircuitBreaker
from service_platform.ratelimit.lua_scripts import ROLLBACK
from service_platform.ratelimit.pending_hit import HitResult, PendingHit
from service_platform.ratelimit.pipelined_connection import discard_reply, encode_command


class CrossSlotHit:
    """Split a hit by slot, and merge the results: all or nothing.

    Args:
        hit: with keys in several slots.
        slots: of its keys, in the same order.
        node_for_slot: returns the node that serves a slot.

    Attributes:
        parts: hits by slot, to be sent.
    """

    __slots__ = ("_hit", "_missing", "_node_for_slot", "_results", "_slots", "parts")

    def __init__(
        self,
        hit: PendingHit,
        slots: list[int],
        node_for_slot: Callable[[int], CircuitBreaker | None],
    ) -> None:
        hit.is_cross_slot = True
        self._hit = hit
        self._slots = slots
        self._node_for_slot = node_for_slot
        self._results: dict[int, HitResult | None] = {}
        self.parts = {
            slot: hit.subset(
                [position for position, other in enumerate(slots) if other == slot],
                partial(self._add_result, slot),
            )
            for slot in dict.fromkeys(slots)
        }
        self._missing = len(self.parts)

    def _add_result(self, slot: int, _: PendingHit, result: HitResult | None) -> None:
        self._results[slot] = result
        self._missing -= 1
        if self._missing:
            return
        refused = {
            each
            for each, found in self._results.items()
            if found is None or is_refused(self.parts[each], found)
        }
        if refused:
            for each, found in self._results.items():
                if found is not None and each not in refused:
                    self._roll_back(each, found)
        self._hit.resolve(self._hit, self._merged_result())

    def _merged_result(self) -> HitResult | None:
        """Return the results in the order of the whole hit, `None` where one is missing."""
        parts = {}
        for slot, result in self._results.items():
            if result is None:
                return None
            parts[slot] = iter(result)
        merged: HitResult = []
        for slot in self._slots:
            merged += (next(parts[slot]), next(parts[slot]))
        return merged

    def _roll_back(self, slot: int, result: HitResult) -> None:
        node = self._node_for_slot(slot)
        part = self.parts[slot]
        for position, (policy, key) in enumerate(zip(part.policies, part.keys, strict=True)):
            if node is not None and result[2 * position] >= 0:
                argument = policy.encode(part.cost).split(b"\r\n", 1)[1][:-2]
                command = encode_command("EVAL", ROLLBACK, 1, key, part.server_time, argument)
                node.send(command, discard_reply)  # without a reply the units come back by expiry


def is_refused(hit: PendingHit, result: HitResult) -> bool:
    """Return whether a policy that is not in shadow mode is exceeded."""
    return any(
        remaining < 0 and not policy.shadow
        for policy, remaining in zip(hit.policies, result[::2], strict=True)
    )
