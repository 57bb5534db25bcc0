"""A cluster of three real nodes."""

import asyncio
from collections import Counter

from cluster_nodes import SLOTS, ClusterNode, cluster_calls
from patience import eventually
from redis import Redis

from service_platform.ratelimit import Limiter, Policy, RateLimitCaller
from service_platform.ratelimit.cluster import slot_of

FIVE = (Policy.parse("5/minute", name="five", by="address"),)


async def test_a_cluster_is_detected_and_every_node_decides_for_its_callers(
    cluster_limiter: Limiter, nodes: list[ClusterNode]
) -> None:
    await cluster_limiter.check()
    people = [RateLimitCaller(f"192.0.2.{number}") for number in range(100)] * 7
    decisions = await asyncio.gather(*(cluster_limiter.hit(each, FIVE) for each in people))
    assert {decision.backend.name for decision in decisions} == {"redis"}
    assert sum(decision.allowed for decision in decisions) == 500
    assert all(cluster_calls(nodes, "evalsha"))
    assert (await cluster_limiter.hit(people[0], ())).allowed


async def test_requests_of_one_turn_are_one_call_for_each_slot(
    cluster_limiter: Limiter, nodes: list[ClusterNode]
) -> None:
    people = [RateLimitCaller(f"192.0.2.{number}") for number in range(20)]
    slots = {slot_of(f"rl:{{x:{each.key_for('address')}}}:a") for each in people}
    policies = (*FIVE, Policy.parse("9/hour", name="nine", by="address"))
    await asyncio.gather(*(cluster_limiter.hit(each, policies) for each in people * 3))
    assert sum(cluster_calls(nodes, "evalsha")) == len(slots)


async def test_a_moved_slot_is_followed(cluster_limiter: Limiter, nodes: list[ClusterNode]) -> None:
    who = RateLimitCaller("203.0.113.9")
    slot = slot_of(f"rl:{{x:{who.key_for('address')}}}:a")
    owner = next(at for at in range(3) if SLOTS * at // 3 <= slot < SLOTS * (at + 1) // 3)
    target = nodes[(owner + 1) % 3]
    target_id = target.ask("CLUSTER", "MYID").decode()
    target.ask("CLUSTER", "BUMPEPOCH")  # so that no other node's older map wins
    for node in (target, nodes[owner], nodes[(owner + 2) % 3]):
        node.ask("CLUSTER", "SETSLOT", slot, "NODE", target_id)
    decisions = [await cluster_limiter.hit(who, FIVE) for _ in range(6)]
    assert [decision.allowed for decision in decisions] == [True] * 5 + [False]
    assert {decision.backend.name for decision in decisions[:5]} == {"redis"}

    async def the_topology_was_refreshed() -> bool:
        return sum(cluster_calls(nodes, "cluster|slots")) > 0

    await eventually(the_topology_was_refreshed, seconds=5)
    with Redis(port=target.port) as client:
        assert client.keys(f"rl:{{x:{who.key_for('address')}}}:*")


async def test_a_migrating_slot_is_asked_for_at_its_new_node(
    cluster_limiter: Limiter, nodes: list[ClusterNode]
) -> None:
    who = RateLimitCaller("203.0.113.77")
    slot = slot_of(f"rl:{{x:{who.key_for('address')}}}:a")
    owner = next(at for at in range(3) if SLOTS * at // 3 <= slot < SLOTS * (at + 1) // 3)
    source, target = nodes[owner], nodes[(owner + 1) % 3]
    target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source.ask("CLUSTER", "MYID").decode())
    source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target.ask("CLUSTER", "MYID").decode())
    try:
        decisions = [await cluster_limiter.hit(who, FIVE) for _ in range(6)]
        assert [decision.allowed for decision in decisions] == [True] * 5 + [False]
        assert {decision.backend.name for decision in decisions[:5]} == {"redis"}
    finally:
        for node in (source, target):
            node.ask("CLUSTER", "SETSLOT", slot, "STABLE")


async def test_a_node_that_dies_takes_only_its_own_callers_to_the_fallback(
    cluster_limiter: Limiter, nodes: list[ClusterNode]
) -> None:
    async def backends() -> Counter[str]:
        people = [RateLimitCaller(f"198.51.100.{number}") for number in range(60)]
        return Counter(
            decision.backend.name
            for decision in await asyncio.gather(
                *(cluster_limiter.hit(each, (Policy.parse("9000/minute", name="p", by="address"),))
                  for each in people)
            )
        )  # fmt: skip

    assert await backends() == {"redis": 60}
    await asyncio.to_thread(nodes[2].kill)

    async def some_fall_back() -> bool:
        return (await backends())["fallback"] > 0

    async def all_are_back() -> bool:
        return await backends() == {"redis": 60}

    await eventually(some_fall_back, seconds=5)
    seen = await backends()
    assert seen["redis"] > 20
    assert seen["fallback"] > 5
    await asyncio.to_thread(nodes[2].start)
    await eventually(all_are_back, seconds=5)
