"""Declare rate limit policies: a quota for each caller, and the `@limit` decorator.

A policy is only a description. `compiled_policies.py` prepares the policies of a request, and
`limiter.py` decides.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, Self, TypeVar, get_args

from service_platform.ratelimit.rate import Rate
from service_platform.settings import PlatformSettings

By = Literal["account", "client", "address", "key"]
Algorithm = Literal["sliding-window", "gcra"]
Per = Literal["request", "message"]

MAX_SLIDING_WINDOW_QUOTA: Final = 10_000
"""A sliding window stores each unit (about 10 bytes in Redis); larger quotas default to GCRA."""

_is_name: Final = re.compile(r"[A-Za-z0-9._-]{1,64}").fullmatch
_DECLARED: Final = "__rate_limit_policies__"

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, eq=False)
class Policy:
    """Describe a quota: how many units each caller may use in a window.

    Attributes:
        rate: quota and window.
        by: whose quota it is (the key function). `account` and `client` (the OAuth client) mean
            the IP address where a request is not authenticated; `key` is a text given by the code
            that calls the limiter.
        algorithm: `sliding-window` is exact: no window ever contains more than the quota. `gcra`
            needs constant memory and refills the quota evenly, so a window that starts with a full
            burst can contain up to twice the quota.
        cost: units that one request uses.
        tiers: other rates by role; of several that apply, the most generous.
        shadow: decide and count, never refuse.
        name: identifies the policy in headers, metrics and problem details. Policies of one
            service with the same name share one count.
        fallback: rate of each process while Redis is unavailable; default: quota ÷ replicas.
        scope: where an unnamed policy was declared; keeps the counts of two endpoints apart.
        per: what is counted: requests (of a WebSocket its handshake), or the messages that a
            client sends over a WebSocket.

    Raises:
        ValueError: an attribute is invalid; the message says which.
    """

    rate: Rate
    by: By = "account"
    algorithm: Algorithm = "sliding-window"
    cost: int = 1
    tiers: Mapping[str, Rate] = field(default_factory=dict)
    shadow: bool = False
    name: str = ""
    fallback: Rate | None = None
    scope: str = ""
    per: Per = "request"

    def __post_init__(self) -> None:
        if self.per not in get_args(Per):
            raise ValueError(f"per={self.per!r} must be one of {', '.join(get_args(Per))}.")
        if self.by not in get_args(By):
            raise ValueError(f"by={self.by!r} must be one of {', '.join(get_args(By))}.")
        if self.algorithm not in get_args(Algorithm):
            choices = ", ".join(get_args(Algorithm))
            raise ValueError(f"algorithm={self.algorithm!r} must be one of {choices}.")
        if self.name and not _is_name(self.name):
            raise ValueError(f"name={self.name!r} must be 1 to 64 of A-Z a-z 0-9 . _ -")
        for rate in (self.rate, *self.tiers.values()):
            rate.validated()
            if not 1 <= self.cost <= rate.quota:
                raise ValueError(f"cost={self.cost} must be 1 to the quota of {rate}.")
            if self.algorithm == "sliding-window" and rate.quota > MAX_SLIDING_WINDOW_QUOTA:
                raise ValueError(
                    f"A sliding window counts up to {MAX_SLIDING_WINDOW_QUOTA} units, not {rate}; "
                    "use algorithm='gcra'."
                )

    @classmethod
    def parse(
        cls,
        rate: str,
        *,
        by: By = "account",
        algorithm: Algorithm | None = None,
        cost: int = 1,
        tiers: Mapping[str, str] | None = None,
        shadow: bool = False,
        name: str = "",
        fallback: str | None = None,
        per: Per = "request",
    ) -> Self:
        """Make a policy from rates as text; the other arguments are the attributes of the class.

        The default algorithm is the exact sliding window, and GCRA where a quota is larger than
        `MAX_SLIDING_WINDOW_QUOTA`.

        Raises:
            ValueError: a rate or an option is invalid; the message says which.
        """
        parsed = Rate.parse(rate)
        parsed_tiers = {role: Rate.parse(text) for role, text in (tiers or {}).items()}
        return cls(
            rate=parsed,
            by=by,
            algorithm=algorithm or _default_algorithm(parsed, *parsed_tiers.values()),
            cost=cost,
            tiers=parsed_tiers,
            shadow=shadow,
            name=name,
            fallback=Rate.parse(fallback) if fallback else None,
            per=per,
        )

    @classmethod
    def service_wide(cls, settings: PlatformSettings) -> tuple[Self, ...]:
        """Return the policies of all routes of a service, from its settings."""
        if not settings.rate_limit_enabled:
            return ()
        rate = Rate(settings.rate_limit_requests, settings.rate_limit_window_seconds)
        return (cls(rate=rate, algorithm=_default_algorithm(rate), name="default"),)

    def rate_for(self, roles: frozenset[str]) -> Rate:
        """Return the rate for a caller with these roles."""
        rates = [rate for role, rate in self.tiers.items() if role in roles]
        if not rates:
            return self.rate
        return max(rates, key=lambda rate: rate.quota / rate.window_seconds)

    def __str__(self) -> str:
        parts = [f"{self.rate} by {self.by}"]
        parts += [f"{role}: {rate}" for role, rate in self.tiers.items()]
        if self.cost > 1:
            parts.append(f"cost {self.cost}")
        if self.shadow:
            parts.append("shadow")
        return ", ".join(parts)


def _default_algorithm(*rates: Rate) -> Algorithm:
    largest = max(rate.quota for rate in rates)
    return "sliding-window" if largest <= MAX_SLIDING_WINDOW_QUOTA else "gcra"


def limit(
    rate: str | Policy,
    *,
    by: By = "account",
    algorithm: Algorithm | None = None,
    cost: int = 1,
    tiers: Mapping[str, str] | None = None,
    shadow: bool = False,
    name: str = "",
    fallback: str | None = None,
    per: Per = "request",
) -> Callable[[F], F]:
    """Limit the rate of requests to an endpoint, in addition to the service's own policies.

    The decorator may be repeated: a request is served if all policies allow it.

    ```python
    @router.post("/token")
    @limit("10/minute", by="address", fallback="3/minute")
    async def issue_token(...): ...
    ```

    Args:
        rate: `"10/minute"`, or a `Policy` that several endpoints share (it needs a name).
        by: see `Policy`, as all that follow.
        algorithm: see `Policy`.
        cost: see `Policy`.
        tiers: see `Policy`.
        shadow: see `Policy`.
        name: see `Policy`; default: the endpoint's name, counted for this endpoint alone.
        fallback: see `Policy`.
        per: see `Policy`.

    Raises:
        ValueError: a rate or an option is invalid; the message says which.
    """
    if isinstance(rate, Policy):
        policy = rate
    else:
        policy = Policy.parse(
            rate, by=by, algorithm=algorithm, cost=cost, tiers=tiers,
            shadow=shadow, name=name, fallback=fallback, per=per,
        )  # fmt: skip

    def decorate(endpoint: F) -> F:
        declared = declared_policies(endpoint)
        named = policy if policy.name else _named_after(endpoint, policy, len(declared))
        # Decorators apply from the bottom up; the list reads as the source does.
        setattr(endpoint, _DECLARED, (named, *declared))
        return endpoint

    return decorate


def _named_after(endpoint: Callable[..., Any], policy: Policy, earlier: int) -> Policy:
    suffix = f"-{earlier + 1}" if earlier else ""
    name = re.sub(r"[^A-Za-z0-9._-]", "", endpoint.__name__)[:60] or "endpoint"
    return replace(
        policy,
        name=f"{name}{suffix}",
        scope=f"{endpoint.__module__}.{endpoint.__qualname__}{suffix}",
    )


def declared_policies(endpoint: Callable[..., Any]) -> tuple[Policy, ...]:
    """Return the policies that `@limit` declared on an endpoint, in the order of the source."""
    declared: tuple[Policy, ...] = getattr(endpoint, _DECLARED, ())
    return declared
