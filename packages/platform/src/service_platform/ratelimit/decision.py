"""Represent the decision on a request, and the header fields that report it to the caller.

The fields are `RateLimit` and `RateLimit-Policy` of draft-ietf-httpapi-ratelimit-headers-11, the
older `X-RateLimit-Limit`, `-Remaining` and `-Reset` (seconds since the epoch), and `Retry-After`.
"""

import time
from typing import Any, Final

from service_platform.errors import TooManyRequests
from service_platform.ratelimit.compiled_policies import CompiledPolicies
from service_platform.ratelimit.effective_policy import (
    MICROSECONDS_PER_SECOND,
    Header,
)
from service_platform.ratelimit.metrics import decisions


class Backend:
    """Name the counts that a decision was based on.

    Args:
        name: label in the metrics.
        is_complete: whether no hits are counted elsewhere, so that callers can be told what is
            left.
    """

    __slots__ = ("allowed", "is_complete", "name", "refused")

    def __init__(self, name: str, *, is_complete: bool = True) -> None:
        self.name = name
        self.is_complete = is_complete
        self.allowed = decisions.labels("allowed", name)
        self.refused = decisions.labels("refused", name)


REDIS: Final = Backend("redis")
"""The counts in Redis."""

MEMORY: Final = Backend("memory")
"""The counts of this process, where the service is configured to have no others."""

FALLBACK: Final = Backend("fallback", is_complete=False)
"""The counts of this process while Redis is unavailable."""

REFUSAL_CACHE: Final = Backend("refusal")
"""A refusal by Redis, cached until its reset."""

_NO_POLICIES: Final[tuple[str, ...]] = ()


class Decision:
    """Tell whether a request is allowed, and count that in the metrics.

    Args:
        compiled: the policies it was checked against.
        result: see `MemoryStore.hit`.
        backend: where the result came from, see the constants above.

    Attributes:
        allowed: whether the request may be served.
        violated: names of the policies that refuse it.
        shadowed: names of the shadow policies that would have refused it.
    """

    __slots__ = ("_compiled", "_result", "allowed", "backend", "shadowed", "violated")

    def __init__(self, compiled: CompiledPolicies, result: list[int], backend: Backend) -> None:
        self._compiled = compiled
        self._result = result
        self.backend = backend
        self.allowed = True
        if result and min(result) < 0:  # only remaining units can be negative
            self._add_violations()
        else:
            self.violated = self.shadowed = _NO_POLICIES
            backend.allowed.inc()

    def _add_violations(self) -> None:
        policies, backend = self._compiled.policies, self.backend
        exceeded = [
            policy
            for policy, remaining in zip(policies, self._result[::2], strict=True)
            if remaining < 0
        ]
        self.violated = tuple(policy.name for policy in exceeded if not policy.shadow)
        self.shadowed = tuple(policy.name for policy in exceeded if policy.shadow)
        self.allowed = not self.violated
        (backend.allowed if self.allowed else backend.refused).inc()
        for policy in exceeded:
            policy.violations.inc()

    @property
    def retry_after(self) -> int:
        """Return the seconds after which the same request would be allowed; 0 when it is now."""
        waits = [self._result[2 * position + 1] for position in self._violated_positions()]
        return whole_seconds(max(waits, default=0))

    def _violated_positions(self) -> tuple[int, ...]:
        return tuple(
            position for position in self._compiled.enforced if self._result[2 * position] < 0
        )

    @property
    def headers(self) -> list[Header]:
        """Return the header fields for the response.

        A refusal reports the policies that refuse, so that `Retry-After` is never earlier than
        the reset of a policy beside it (section 6 of the draft). While Redis is unavailable what
        is left is unknown, and only the policies themselves are reported.
        """
        compiled = self._compiled
        positions = compiled.enforced
        headers = [*compiled.constant_headers]
        if not self.allowed:
            headers.append((b"retry-after", b"%d" % self.retry_after))
            positions = self._violated_positions()
        if not positions or not self.backend.is_complete:
            return headers
        result, policies = self._result, compiled.policies
        items = []
        tightest, least, longest = positions[0], -1, 0
        for position in positions:
            remaining, reset = result[2 * position], result[2 * position + 1]
            if remaining < 0:
                remaining = -1 - remaining
            items.append(
                policies[position].ratelimit_item
                % (remaining, -(-reset // MICROSECONDS_PER_SECOND))
            )
            if least < 0 or remaining < least or (remaining == least and reset > longest):
                tightest, least, longest = position, remaining, reset
        resets_at = int(time.time() + longest / MICROSECONDS_PER_SECOND) + 1
        headers.append((b"ratelimit", items[0] if len(items) == 1 else b", ".join(items)))
        headers.append(policies[tightest].limit_header)
        headers.append((b"x-ratelimit-remaining", b"%d" % least))
        headers.append((b"x-ratelimit-reset", b"%d" % resets_at))
        return headers

    def problem(self) -> TooManyRequests:
        """Return the problem details (429) for a refused request; `headers` are sent separately."""
        violated: dict[str, Any] = {"violated-policies": list(self.violated)}
        return TooManyRequests(**violated)


def whole_seconds(microseconds: int) -> int:
    """Convert microseconds to seconds, rounded up, so that a caller never waits too little."""
    return -(-microseconds // MICROSECONDS_PER_SECOND)
