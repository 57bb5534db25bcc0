"""Requests with keys in several hash slots of a real cluster."""

import asyncio
from typing import Any
from uuid import UUID

import pytest
from cluster_nodes import ClusterNode
from memory_stores import effective
from pydantic import SecretStr

from service_platform.ratelimit import Limiter, Policy, RateLimitCaller, RedisStore
from service_platform.ratelimit.cluster import slot_of
from service_platform.ratelimit.cross_slot import CrossSlotHit
from service_platform.ratelimit.pending_hit import HitResult, PendingHit

ACCOUNT = UUID(int=7)


@pytest.mark.parametrize("algorithm", ["sliding-window", "gcra"])
async def test_policies_in_several_slots_are_all_or_nothing(
    cluster_limiter: Limiter, nodes: list[ClusterNode], algorithm: Any
) -> None:
    by_account = Policy.parse("8/hour", name="account", by="account", algorithm=algorithm)
    by_address = Policy.parse("3/hour", name="address", by="address", algorithm=algorithm)
    home = RateLimitCaller("192.0.2.7", account=ACCOUNT)
    away = RateLimitCaller("198.51.100.7", account=ACCOUNT)
    keys = RedisStore(SecretStr("redis://x"), service="x", timeout=1).keys(
        cluster_limiter._compiler.compile((by_account, by_address), frozenset()).policies, home
    )
    assert len({slot_of(key) for key in keys}) == 2
    decisions = [await cluster_limiter.hit(home, (by_account, by_address)) for _ in range(3)]
    assert all(decision.allowed for decision in decisions)
    refused = await asyncio.gather(
        *(cluster_limiter.hit(home, (by_account, by_address)) for _ in range(20))
    )
    assert not any(decision.allowed for decision in refused)
    assert {decision.violated for decision in refused} <= {("address",), ("account", "address")}
    await asyncio.sleep(0.05)  # the rollback arrives one round trip later
    elsewhere = [await cluster_limiter.hit(away, (by_account,)) for _ in range(6)]
    assert [decision.allowed for decision in elsewhere] == [True] * 5 + [False]
    assert decisions[0].backend.name == refused[0].backend.name == "redis"


@pytest.mark.parametrize("missing", ["first", "second"])
def test_without_the_result_of_one_slot_there_is_no_result(missing: str) -> None:
    results: list[HitResult | None] = []
    policies = effective("5/minute", "9/minute")
    hit = PendingHit(policies, ("{a}", "{b}"), 1, lambda _, result: results.append(result))
    first, second = CrossSlotHit(hit, [1, 2], lambda _: None).parts.values()
    first.resolve(first, None if missing == "first" else [4, 1])
    assert results == []
    second.resolve(second, None if missing == "second" else [8, 1])
    assert results == [None]
    assert hit.is_cross_slot


def test_the_results_of_all_slots_are_merged_in_the_order_of_the_policies() -> None:
    results: list[HitResult | None] = []
    policies = effective("5/minute", "9/minute", "7/minute")
    hit = PendingHit(policies, ("{a}", "{b}", "{a}c"), 1, lambda _, result: results.append(result))
    parts = CrossSlotHit(hit, [1, 2, 1], lambda _: None).parts
    parts[2].resolve(parts[2], [8, 20])
    parts[1].resolve(parts[1], [4, 10, 6, 30])
    assert results == [[4, 10, 8, 20, 6, 30]]
