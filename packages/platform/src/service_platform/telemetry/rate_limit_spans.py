"""Makes the span of a rate limit decision."""

from service_platform.ratelimit import Decision, Limiter, Policy, RateLimitCaller
from service_platform.telemetry.tracing import span


async def hit_in_span(
    limiter: Limiter, caller: RateLimitCaller, policies: tuple[Policy, ...]
) -> Decision:
    """Do what `limiter.hit` does, in a span that has the decision and where it was made."""
    names = [policy.name for policy in policies]
    with span("rate_limit", attributes={"rate_limit.policies": names}) as decided:
        decision = await limiter.hit(caller, policies)
        decided.set_attribute("rate_limit.allowed", decision.allowed)
        decided.set_attribute("rate_limit.backend", decision.backend.name)
        if decision.violated:
            decided.set_attribute("rate_limit.violated", list(decision.violated))
    return decision


__all__ = ["hit_in_span"]
