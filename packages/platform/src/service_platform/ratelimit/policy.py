"""Policies: how much of what one caller may use, and how an endpoint declares its own.

A policy is only a description. `plan.py` turns the policies of a request into what is counted, and
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

LARGEST_EXACT_QUOTA: Final = 10_000
"""A sliding window remembers each unit (about 10 bytes in Redis); larger quotas default to GCRA."""

_is_name: Final = re.compile(r"[A-Za-z0-9._-]{1,64}").fullmatch
_DECLARED: Final = "__rate_limit_policies__"

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, eq=False)
class Policy:
    """A quota for one kind of caller.

    Attributes:
        rate: units in any window of that length.
        by: whose quota it is. `account` and `client` mean the address where nobody is
            authenticated; `key` is a text the caller of the limiter gives.
        algorithm: `sliding-window` is exact: no window ever sees more than the quota. `gcra` needs
            constant memory and lets the quota refill evenly, so that a window which starts with a
            full burst can see up to twice the quota.
        cost: units one request takes.
        tiers: other rates by role; of several that apply, the most generous.
        shadow: decide and count, never refuse.
        name: identifies the policy in headers, metrics and problems. Policies of one service with
            one name share one count.
        fallback: rate of each process by itself while Redis is away; default: quota ÷ replicas.
        scope: where an unnamed policy was declared; keeps the counts of two endpoints apart.
        per: what is counted: requests (of a WebSocket its handshake), or the messages that a
            client sends over a WebSocket.
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
            rate.checked()
            if not 1 <= self.cost <= rate.quota:
                raise ValueError(f"cost={self.cost} must be 1 to the quota of {rate}.")
            if self.algorithm == "sliding-window" and rate.quota > LARGEST_EXACT_QUOTA:
                raise ValueError(
                    f"A sliding window counts up to {LARGEST_EXACT_QUOTA} exactly, not {rate}; "
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
        """Make a policy from rates in words; the rest is as the attributes of the class.

        Without an `algorithm` it is the exact sliding window, and GCRA where a quota is larger
        than `LARGEST_EXACT_QUOTA`.

        Raises:
            ValueError: a rate or an option makes no sense; the message says which.
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
        """The policies of every route of a service, from its settings."""
        if not settings.rate_limit_enabled:
            return ()
        rate = Rate(settings.rate_limit_requests, settings.rate_limit_window_seconds)
        return (cls(rate=rate, algorithm=_default_algorithm(rate), name="default"),)

    def rate_for(self, roles: frozenset[str]) -> Rate:
        """The rate for somebody with these roles."""
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
    return "sliding-window" if largest <= LARGEST_EXACT_QUOTA else "gcra"


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
    """Limit an endpoint in addition to the service's own policies; may be repeated.

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
        ValueError: a rate or an option makes no sense; the message says which.
    """
    if isinstance(rate, Policy):
        policy = rate
    else:
        policy = Policy.parse(
            rate, by=by, algorithm=algorithm, cost=cost, tiers=tiers,
            shadow=shadow, name=name, fallback=fallback, per=per,
        )  # fmt: skip

    def declare(endpoint: F) -> F:
        declared = declared_policies(endpoint)
        named = policy if policy.name else _named_after(endpoint, policy, len(declared))
        # Decorators apply from the bottom up; the list reads as the source does.
        setattr(endpoint, _DECLARED, (named, *declared))
        return endpoint

    return declare


def _named_after(endpoint: Callable[..., Any], policy: Policy, earlier: int) -> Policy:
    suffix = f"-{earlier + 1}" if earlier else ""
    name = re.sub(r"[^A-Za-z0-9._-]", "", endpoint.__name__)[:60] or "endpoint"
    return replace(
        policy,
        name=f"{name}{suffix}",
        scope=f"{endpoint.__module__}.{endpoint.__qualname__}{suffix}",
    )


def declared_policies(endpoint: Callable[..., Any]) -> tuple[Policy, ...]:
    """What `@limit` declared on an endpoint, in the order of the source."""
    declared: tuple[Policy, ...] = getattr(endpoint, _DECLARED, ())
    return declared
