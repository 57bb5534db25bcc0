"""Compile the policies of a request before there is one: keys, numbers and constant headers."""

from collections.abc import Iterable
from typing import Final

from service_platform.ratelimit.effective_policy import EffectivePolicy, Header
from service_platform.ratelimit.policy import Policy
from service_platform.ratelimit.rate import Rate

_MAX_POLICIES: Final = 255


class CompiledPolicies:
    """Compile the policies that one request is checked against.

    Args:
        policies: at most 255, each with a name of its own.
        roles: of the caller.
        replicas: while Redis is unavailable, a policy without a fallback rate of its own allows
            this part of its rate in each process.
        shadow: treat every policy as a shadow policy.

    Attributes:
        policies: one effective policy each.
        fallback: the same policies as this process enforces them while Redis is unavailable.
        enforced: positions of the policies that are not in shadow mode; only these are reported
            to callers.
        constant_headers: header fields that depend on the policies alone.

    Raises:
        ValueError: a policy has no name, two have the same, or there are too many.
    """

    __slots__ = ("constant_headers", "enforced", "fallback", "policies")

    policies: tuple[EffectivePolicy, ...]
    fallback: tuple[EffectivePolicy, ...]
    enforced: tuple[int, ...]
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
        self.policies = tuple(
            EffectivePolicy(policy, policy.rate_for(roles), shadow=shadow or policy.shadow)
            for policy in policies
        )
        self.fallback = tuple(
            EffectivePolicy(
                policy, _fallback_rate(policy, roles, replicas), shadow=shadow or policy.shadow
            )
            for policy in policies
        )
        self.enforced = tuple(
            position for position, policy in enumerate(self.policies) if not policy.shadow
        )
        items = b", ".join(self.policies[position].policy_item for position in self.enforced)
        self.constant_headers = ((b"ratelimit-policy", items),) if items else ()

    def only(self, position: int) -> "CompiledPolicies":
        """Return a copy with just the policy at this position, and the headers of all."""
        copy = CompiledPolicies.__new__(CompiledPolicies)
        copy.policies = (self.policies[position],)
        copy.fallback = (self.fallback[position],)
        copy.enforced = (0,)
        copy.constant_headers = self.constant_headers
        return copy


def _check_names(names: list[str]) -> None:
    if not all(names) or len(set(names)) != len(names) or len(names) > _MAX_POLICIES:
        raise ValueError(
            f"The policies of one request need names, each its own, not {names}; "
            "give Policy.parse(..., name=...)."
        )


def _fallback_rate(policy: Policy, roles: frozenset[str], replicas: int) -> Rate:
    """Return what one process allows while Redis is unavailable, at least one request."""
    if policy.fallback is not None:
        rate = policy.fallback
    else:
        shared = policy.rate_for(roles)
        rate = Rate(shared.quota // replicas, shared.window_seconds)
    return Rate(max(rate.quota, policy.cost), rate.window_seconds)


class PolicyCompiler:
    """Compile policies, and cache the result by policies and roles.

    Args:
        replicas: see `CompiledPolicies`.
        shadow: see `CompiledPolicies`.
    """

    __slots__ = ("_cache", "_replicas", "_shadow")

    _MAX_CACHED: Final = 256

    def __init__(self, *, replicas: int = 1, shadow: bool = False) -> None:
        self._replicas = replicas
        self._shadow = shadow
        self._cache: dict[tuple[Policy, ...], CompiledPolicies | _TieredPolicies] = {}

    @property
    def cache_size(self) -> int:
        """Return the number of compiled policies in the cache."""
        return sum(
            1 if isinstance(entry, CompiledPolicies) else len(entry.by_roles)
            for entry in self._cache.values()
        )

    def compile(self, policies: tuple[Policy, ...], roles: frozenset[str]) -> CompiledPolicies:
        """Return these policies, compiled for a caller with these roles."""
        entry = self._cache.get(policies)
        if entry is None:
            entry = self._new_entry(policies)
            if len(self._cache) < self._MAX_CACHED:
                self._cache[policies] = entry
        if isinstance(entry, CompiledPolicies):
            return entry
        return entry.by_roles.get(roles) or self._compile_for_roles(entry, roles)

    def _new_entry(self, policies: tuple[Policy, ...]) -> "CompiledPolicies | _TieredPolicies":
        tiers = frozenset(role for policy in policies for role in policy.tiers)
        if tiers:
            return _TieredPolicies(policies, tiers)
        return self._compile(policies, frozenset())

    def _compile_for_roles(
        self, tiered: "_TieredPolicies", roles: frozenset[str]
    ) -> CompiledPolicies:
        relevant = roles & tiered.tiers
        compiled = tiered.by_roles.get(relevant)
        if compiled is None:
            compiled = tiered.by_roles[relevant] = self._compile(tiered.policies, relevant)
        if len(tiered.by_roles) < self._MAX_CACHED:
            tiered.by_roles[roles] = compiled
        return compiled

    def _compile(self, policies: tuple[Policy, ...], roles: frozenset[str]) -> CompiledPolicies:
        return CompiledPolicies(policies, roles=roles, replicas=self._replicas, shadow=self._shadow)


class _TieredPolicies:
    """Policies whose rates depend on roles, and what has been compiled of them so far."""

    __slots__ = ("by_roles", "policies", "tiers")

    def __init__(self, policies: tuple[Policy, ...], tiers: frozenset[str]) -> None:
        self.policies = policies
        self.tiers = tiers
        self.by_roles: dict[frozenset[str], CompiledPolicies] = {}
