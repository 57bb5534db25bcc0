"""What was decided for a request, and how the caller is told.

Fields: `RateLimit` and `RateLimit-Policy` of draft-ietf-httpapi-ratelimit-headers-11, the older
`X-RateLimit-Limit`, `-Remaining` and `-Reset` (seconds since the epoch), and `Retry-After`.
"""

import time
from typing import Any, Final

from service_platform.errors import TooManyRequests
from service_platform.ratelimit.metrics import decisions
from service_platform.ratelimit.plan import MICROSECONDS, Header, Plan


class Backend:
    """Where a decision came from.

    Args:
        name: label in the metrics.
        knows: whether the count is the true one, and may be told to callers.
    """

    __slots__ = ("allowed", "knows", "name", "refused")

    def __init__(self, name: str, *, knows: bool = True) -> None:
        self.name = name
        self.knows = knows
        self.allowed = decisions.labels("allowed", name)
        self.refused = decisions.labels("refused", name)


REDIS: Final = Backend("redis")
"""The shared count."""

MEMORY: Final = Backend("memory")
"""The count of this process, which is the only one by configuration."""

FALLBACK: Final = Backend("fallback", knows=False)
"""The count of this process while Redis is away: nobody knows the true one."""

REFUSAL: Final = Backend("refusal")
"""A refusal of the shared count, remembered until its reset."""


_NOBODY: Final[tuple[str, ...]] = ()


class Decision:
    """May the request be served?

    Args:
        plan: what was decided.
        answer: see `MemoryStore.decide`.
        backend: where the answer came from, see the constants above.

    Attributes:
        allowed: whether the request may be served.
        violated: names of the policies that refuse it.
        shadowed: names of the shadow policies that would have refused it.

    Making one counts it in the metrics.
    """

    __slots__ = ("_answer", "_plan", "allowed", "backend", "shadowed", "violated")

    def __init__(self, plan: Plan, answer: list[int], backend: Backend) -> None:
        self._plan = plan
        self._answer = answer
        self.backend = backend
        self.allowed = True
        if answer and min(answer) < 0:  # only units left can be negative
            self._note_violations()
        else:
            self.violated = self.shadowed = _NOBODY
            backend.allowed.inc()

    def _note_violations(self) -> None:
        terms, backend = self._plan.terms, self.backend
        without_room = [
            term for term, left in zip(terms, self._answer[::2], strict=True) if left < 0
        ]
        self.violated = tuple(term.name for term in without_room if not term.shadow)
        self.shadowed = tuple(term.name for term in without_room if term.shadow)
        self.allowed = not self.violated
        (backend.allowed if self.allowed else backend.refused).inc()
        for term in without_room:
            term.violations.inc()

    @property
    def retry_after(self) -> int:
        """Seconds after which the same request has room in every policy; 0 when allowed."""
        waits = [self._answer[2 * at + 1] for at in self._violated_positions()]
        return seconds_covering(max(waits, default=0))

    def _violated_positions(self) -> tuple[int, ...]:
        return tuple(at for at in self._plan.visible if self._answer[2 * at] < 0)

    @property
    def headers(self) -> list[Header]:
        """Header fields for the response.

        A refusal speaks of the policies that refuse, so that `Retry-After` is never earlier than
        the end of an effective window told beside it (section 6 of the draft). Where the true
        count is unknown, only the policies are told.
        """
        plan = self._plan
        positions = plan.visible
        headers = [*plan.constant_headers]
        if not self.allowed:
            headers.append((b"retry-after", b"%d" % self.retry_after))
            positions = self._violated_positions()
        if not positions or not self.backend.knows:
            return headers
        answer, terms = self._answer, plan.terms
        items = []
        tightest, least, longest = positions[0], -1, 0
        for at in positions:
            left, wait = answer[2 * at], answer[2 * at + 1]
            if left < 0:
                left = -1 - left
            items.append(terms[at].item % (left, -(-wait // MICROSECONDS)))
            if least < 0 or left < least or (left == least and wait > longest):
                tightest, least, longest = at, left, wait
        resets_at = int(time.time() + longest / MICROSECONDS) + 1
        headers.append((b"ratelimit", items[0] if len(items) == 1 else b", ".join(items)))
        headers.append(terms[tightest].limit_header)
        headers.append((b"x-ratelimit-remaining", b"%d" % least))
        headers.append((b"x-ratelimit-reset", b"%d" % resets_at))
        return headers

    def problem(self) -> TooManyRequests:
        """The answer to a refused request; `headers` are sent beside it, not in it."""
        violated: dict[str, Any] = {"violated-policies": list(self.violated)}
        return TooManyRequests(**violated)


def seconds_covering(microseconds: int) -> int:
    """Whole seconds, rounded up: whoever waits them has waited long enough."""
    return -(-microseconds // MICROSECONDS)
