"""Prepare one policy for one group of callers, with the rate that applies to their roles."""

from struct import pack
from typing import Final

from service_platform.ratelimit.memory_limiter import MemoryLimiter
from service_platform.ratelimit.metrics import violations
from service_platform.ratelimit.policy import Policy
from service_platform.ratelimit.rate import Rate

MICROSECONDS_PER_SECOND: Final = 1_000_000
_MAX_ENCODED_COSTS: Final = 64

Header = tuple[bytes, bytes]


class EffectivePolicy:
    """Hold everything about a policy that does not change from request to request.

    Attributes:
        name: of the policy.
        rate: the one that applies, tiers considered.
        window: length of the window in microseconds.
        is_sliding_window: the algorithm is the exact sliding window, otherwise GCRA.
        counter_key: identifies the count; together with the caller's key it is the Redis key.
        ratelimit_item: template of its item in the `RateLimit` header field.
        limit_header: its `X-RateLimit-Limit` header field.
        violations: metric of the requests that exceeded it.
        memory_limiter: counts it in this process; set by `MemoryStore` on first use.
    """

    __slots__ = (
        "_encoded",
        "by",
        "cost",
        "counter_key",
        "is_sliding_window",
        "limit_header",
        "memory_limiter",
        "name",
        "quota",
        "rate",
        "ratelimit_item",
        "shadow",
        "violations",
        "window",
    )

    def __init__(self, policy: Policy, rate: Rate, *, shadow: bool) -> None:
        self.name = policy.name
        self.rate = rate
        self.by = policy.by
        self.cost = policy.cost
        self.shadow = shadow
        self.quota = rate.quota
        self.window = rate.window_seconds * MICROSECONDS_PER_SECOND
        self.is_sliding_window = policy.algorithm == "sliding-window"
        # Roles with different quotas share the count of a sliding window. The time that GCRA
        # stores is only valid for one quota.
        if self.is_sliding_window:
            algorithm = f"w{rate.window_seconds}"
        else:
            algorithm = f"g{rate.window_seconds}.{rate.quota}"
        self.counter_key = f"{policy.scope or policy.name}:{algorithm}"
        self.ratelimit_item = b'"%b";r=%%d;t=%%d' % self.name.encode("ascii")
        self.limit_header: Header = (b"x-ratelimit-limit", b"%d" % rate.quota)
        self.memory_limiter: MemoryLimiter | None = None
        self.violations = violations.labels(self.name, "shadow" if shadow else "enforced")
        self._encoded: dict[int, bytes] = {}

    @property
    def policy_item(self) -> bytes:
        """Return its item in the `RateLimit-Policy` header field.

        See draft-ietf-httpapi-ratelimit-headers-11, section 3.1.
        """
        return b'"%b";q=%d;w=%d' % (
            self.name.encode("ascii"),
            self.quota,
            self.rate.window_seconds,
        )

    def encode(self, cost: int) -> bytes:
        """Encode the script's argument for a hit of `cost`, as a bulk string of RESP.

        It has seven doubles: is_sliding_window, shadow, quota, window, units, and for GCRA the
        time that these units take to refill. That time has whole microseconds and a fraction,
        of which the numerator is sent and the quota is the denominator, so nothing is rounded.
        """
        argument = self._encoded.get(cost)
        if argument is None:
            units = self.cost * cost
            whole, numerator = divmod(units * self.window, self.quota)
            doubles = pack(
                "<7d",
                self.is_sliding_window,
                self.shadow,
                self.quota,
                self.window,
                units,
                whole,
                numerator,
            )
            argument = b"$%d\r\n%b\r\n" % (len(doubles), doubles)
            if len(self._encoded) < _MAX_ENCODED_COSTS:
                self._encoded[cost] = argument
        return argument
