from memory_stores import effective

from service_platform.ratelimit.pending_hit import HitResult, PendingHit


def test_a_subset_has_its_own_policies_keys_and_callback() -> None:
    resolved: list[tuple[PendingHit, HitResult | None]] = []
    policies = effective("1/minute", "2/minute", "3/minute")
    hit = PendingHit(policies, ("a", "b", "c"), 4, lambda *_: None)
    subset = hit.subset([0, 2], lambda *resolution: resolved.append(resolution))
    subset.resolve(subset, None)
    assert subset.policies == (policies[0], policies[2])
    assert (subset.keys, subset.cost) == (("a", "c"), 4)
    assert resolved == [(subset, None)]
