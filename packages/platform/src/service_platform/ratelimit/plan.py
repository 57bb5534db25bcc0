"""The policies of a request, worked out as far as possible before there is one.

A `Plan` is made once for each combination of policies (and, where there are tiers, of roles) and
kept by the limiter; it holds what every decision needs: keys, numbers and the constant headers.
"""

from collections.abc import Iterable
from struct import pack
from typing import TYPE_CHECKING, Final

from service_platform.ratelimit.metrics import violations
from service_platform.ratelimit.policy import Policy
from service_platform.ratelimit.rate import Rate

if TYPE_CHECKING:
    from service_platform.ratelimit.memory import Meter

MICROSECONDS: Final = 1_000_000

Header = tuple[bytes, bytes]


class Term:
    """One policy with the rate that applies: what is counted, and how it is spoken of.

    Attributes:
        name: of the policy.
        rate: after tiers.
        window: microseconds.
        exact: sliding window rather than GCRA.
        key: what counts are kept under, beside the caller.
        item: template of its entry in the `RateLimit` field.
        limit_header: its `X-RateLimit-Limit`.
        violations: counts requests it had no room for.
        meter: where the in-process store counts it, once it does.
    """

    __slots__ = (
        "_packed",
        "by",
        "cost",
        "exact",
        "item",
        "key",
        "limit_header",
        "meter",
        "name",
        "quota",
        "rate",
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
        self.window = rate.window_seconds * MICROSECONDS
        self.exact = policy.algorithm == "sliding-window"
        # Roles share the count of a sliding window, whatever their quota. GCRA keeps a time that
        # means something only for one quota.
        how = f"w{rate.window_seconds}" if self.exact else f"g{rate.window_seconds}.{rate.quota}"
        self.key = f"{policy.scope or policy.name}:{how}"
        self.item = b'"%b";r=%%d;t=%%d' % self.name.encode("ascii")
        self.limit_header: Header = (b"x-ratelimit-limit", b"%d" % rate.quota)
        self.meter: Meter | None = None
        self.violations = violations.labels(self.name, "shadow" if shadow else "enforced")
        self._packed: dict[int, bytes] = {}

    @property
    def advertised(self) -> bytes:
        """Its entry in the `RateLimit-Policy` field (draft-ietf-httpapi-ratelimit-headers, 3.1)."""
        return b'"%b";q=%d;w=%d' % (
            self.name.encode("ascii"),
            self.quota,
            self.rate.window_seconds,
        )

    def packed(self, cost: int) -> bytes:
        """The script's argument for taking `cost` times the policy's cost, as RESP bulk string.

        Seven doubles: exact, shadow, quota, window and cost in units; for GCRA the cost in time as
        whole microseconds and the rest as a numerator over the quota, so that nothing is rounded.
        """
        argument = self._packed.get(cost)
        if argument is None:
            units = self.cost * cost
            whole, rest = divmod(units * self.window, self.quota)
            doubles = pack(
                "<7d", self.exact, self.shadow, self.quota, self.window, units, whole, rest
            )
            argument = b"$%d\r\n%b\r\n" % (len(doubles), doubles)
            if len(self._packed) < 64:
                self._packed[cost] = argument
        return argument


class Plan:
    """What is decided for a request.

    Args:
        policies: at most 255, each with a name of its own.
        roles: of the caller.
        replicas: the fallback of a policy without its own gets this part of the rate.
        shadow: no policy refuses.

    Attributes:
        terms: one for each policy.
        local: the same policies as this process applies them by itself while Redis is away.
        visible: positions of the terms told to callers; shadow policies are not.
        constant_headers: those that depend on the policies alone.
    """

    __slots__ = ("constant_headers", "local", "terms", "visible")

    terms: tuple[Term, ...]
    local: tuple[Term, ...]
    visible: tuple[int, ...]
    constant_headers: tuple[Header, ...]

    def __init__(
        self,
        policies: Iterable[Policy],
        *,
        roles: frozenset[str] = frozenset(),
        replicas: int = 1,
        shadow: bool = False,
    ) -> None:
        policies = tuple(policies)
        _check_names([policy.name for policy in policies])
        self.terms = tuple(
            Term(policy, policy.rate_for(roles), shadow=shadow or policy.shadow)
            for policy in policies
        )
        self.local = tuple(
            Term(policy, _local_rate(policy, roles, replicas), shadow=shadow or policy.shadow)
            for policy in policies
        )
        self.visible = tuple(at for at, term in enumerate(self.terms) if not term.shadow)
        advertised = b", ".join(self.terms[at].advertised for at in self.visible)
        self.constant_headers = ((b"ratelimit-policy", advertised),) if advertised else ()

    def only(self, at: int) -> "Plan":
        """This plan as far as one term is concerned."""
        alone = Plan.__new__(Plan)
        alone.terms = (self.terms[at],)
        alone.local = (self.local[at],)
        alone.visible = (0,)
        alone.constant_headers = self.constant_headers
        return alone


def _check_names(names: list[str]) -> None:
    if not all(names) or len(set(names)) != len(names) or len(names) > 255:
        raise ValueError(
            f"The policies of one request need names, each its own, not {names}; "
            "give Policy.parse(..., name=...)."
        )


def _local_rate(policy: Policy, roles: frozenset[str], replicas: int) -> Rate:
    """What one process allows by itself; never less than one request takes."""
    if policy.fallback is not None:
        rate = policy.fallback
    else:
        full = policy.rate_for(roles)
        rate = Rate(full.quota // replicas, full.window_seconds)
    return Rate(max(rate.quota, policy.cost), rate.window_seconds)


class Plans:
    """Every plan in use, found by policies and roles.

    Args:
        replicas: see `Plan`.
        shadow: see `Plan`.
    """

    __slots__ = ("_by_policies", "_replicas", "_shadow")

    _MOST_KEPT: Final = 256

    def __init__(self, *, replicas: int = 1, shadow: bool = False) -> None:
        self._replicas = replicas
        self._shadow = shadow
        self._by_policies: dict[tuple[Policy, ...], Plan | _Tiered] = {}

    @property
    def size(self) -> int:
        """Plans kept."""
        kept = self._by_policies.values()
        return sum(1 if isinstance(found, Plan) else len(found.by_roles) for found in kept)

    def find(self, policies: tuple[Policy, ...], roles: frozenset[str]) -> Plan:
        """The plan for these policies and a caller with these roles."""
        found = self._by_policies.get(policies)
        if found is None:
            found = self._prepare(policies)
            if len(self._by_policies) < self._MOST_KEPT:
                self._by_policies[policies] = found
        if isinstance(found, Plan):
            return found
        return found.by_roles.get(roles) or self._for_roles(found, roles)

    def _prepare(self, policies: tuple[Policy, ...]) -> "Plan | _Tiered":
        tiers = frozenset(role for policy in policies for role in policy.tiers)
        return _Tiered(policies, tiers) if tiers else self._plan(policies, frozenset())

    def _for_roles(self, tiered: "_Tiered", roles: frozenset[str]) -> Plan:
        relevant = roles & tiered.tiers
        plan = tiered.by_roles.get(relevant)
        if plan is None:
            plan = tiered.by_roles[relevant] = self._plan(tiered.policies, relevant)
        if len(tiered.by_roles) < self._MOST_KEPT:
            tiered.by_roles[roles] = plan
        return plan

    def _plan(self, policies: tuple[Policy, ...], roles: frozenset[str]) -> Plan:
        return Plan(policies, roles=roles, replicas=self._replicas, shadow=self._shadow)


class _Tiered:
    """Policies whose rates depend on roles, and the plans made of them so far."""

    __slots__ = ("by_roles", "policies", "tiers")

    def __init__(self, policies: tuple[Policy, ...], tiers: frozenset[str]) -> None:
        self.policies = policies
        self.tiers = tiers
        self.by_roles: dict[frozenset[str], Plan] = {}
