"""Tells of rate limit decisions in traces."""

from opentelemetry.trace import Span

from service_platform.ratelimit import Decision, Limiter, Policy, RateLimitCaller
from service_platform.telemetry.tracing import span


async def hit_recorded(
    limiter: Limiter,
    caller: RateLimitCaller,
    policies: tuple[Policy, ...],
    request: Span | None = None,
) -> Decision:
    """Do what `limiter.hit` does, and tell of the decision.

    One that waits for Redis has a span of its own; one that is made at once is told by the span of
    the request.
    """
    answer = limiter.hit_nowait(caller, policies)
    if isinstance(answer, Decision):
        if request is not None:
            _describe(request, answer, policies)
        return answer
    with span("rate_limit") as waiting:
        decision = await answer
        _describe(waiting, decision, policies)
    return decision


def _describe(told: Span, decision: Decision, policies: tuple[Policy, ...]) -> None:
    attributes: dict[str, bool | str | list[str]] = {
        "rate_limit.policies": [policy.name for policy in policies],
        "rate_limit.allowed": decision.allowed,
        "rate_limit.backend": decision.backend.name,
    }
    if decision.violated:
        attributes["rate_limit.violated"] = list(decision.violated)
    told.set_attributes(attributes)


__all__ = ["hit_recorded"]
