"""Three real nodes of a cluster."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from patience import eventually
from pydantic import SecretStr
from redis import Redis

from service_platform.ratelimit import Limiter, Policy, RateLimitCaller, RedisStore
from service_platform.ratelimit.cluster import slot_of
from service_testing.ports import free_port
from service_testing.valkey import LocalValkey

SLOTS = 16_384
FIVE = (Policy.parse("5/minute", name="five", by="address"),)
ACCOUNT = UUID(int=7)


class ClusterNode(LocalValkey):
    """A Valkey in cluster mode that goes on when another node is away."""

    def _command(self) -> list[str]:
        self.bus_port = free_port()
        return [
            *super()._command(),
            "--cluster-enabled", "yes",
            "--cluster-port", str(self.bus_port),
            "--cluster-node-timeout", "500",
            "--cluster-require-full-coverage", "no",
        ]  # fmt: skip

    def ask(self, *command: object) -> Any:
        with Redis(port=self.port) as client:
            return client.execute_command(*command)

    def is_ready(self) -> bool:
        healthy = b"cluster_state:ok" in self.ask("CLUSTER", "INFO")
        return healthy and len(self.ask("CLUSTER", "SLOTS")) == 3


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[ClusterNode]]:
    root: Path = tmp_path_factory.mktemp("cluster")
    found = [ClusterNode(root / f"node{number}", durable=False) for number in range(3)]
    try:
        for number, node in enumerate(found):
            node.start()
            first, last = SLOTS * number // 3, SLOTS * (number + 1) // 3 - 1
            node.ask("CLUSTER", "ADDSLOTSRANGE", first, last)
        for node in found[1:]:
            node.ask("CLUSTER", "MEET", "127.0.0.1", found[0].port, found[0].bus_port)
        deadline = time.monotonic() + 20
        while not all(node.is_ready() for node in found):
            assert time.monotonic() < deadline, "the nodes did not meet"
            time.sleep(0.02)
        yield found
    finally:
        for node in found:
            node.remove()


@pytest.fixture
async def limiter(nodes: list[ClusterNode]) -> AsyncIterator[Limiter]:
    for node in nodes:
        node.ask("FLUSHALL")
    limiter = Limiter(RedisStore(SecretStr(nodes[0].url), service="x", timeout=2.0))
    await limiter.start()
    for node in nodes:
        node.ask("CONFIG", "RESETSTAT")
    yield limiter
    await limiter.stop()


def calls(nodes: list[ClusterNode], command: str) -> list[int]:
    return [
        node.ask("INFO", "commandstats").get(f"cmdstat_{command}", {}).get("calls", 0)
        for node in nodes
    ]


async def test_a_cluster_is_recognised_and_every_node_decides_for_its_callers(
    limiter: Limiter, nodes: list[ClusterNode]
) -> None:
    await limiter.check()
    people = [RateLimitCaller(f"192.0.2.{number}") for number in range(100)] * 7
    decisions = await asyncio.gather(*(limiter.hit(each, FIVE) for each in people))
    assert {decision.backend.name for decision in decisions} == {"redis"}
    assert sum(decision.allowed for decision in decisions) == 500
    assert all(calls(nodes, "evalsha"))
    assert (await limiter.hit(people[0], ())).allowed


async def test_requests_of_one_turn_are_one_call_for_each_slot(
    limiter: Limiter, nodes: list[ClusterNode]
) -> None:
    people = [RateLimitCaller(f"192.0.2.{number}") for number in range(20)]
    slots = {slot_of(f"rl:{{x:{each.key_for('address')}}}:a") for each in people}
    policies = (*FIVE, Policy.parse("9/hour", name="nine", by="address"))
    await asyncio.gather(*(limiter.hit(each, policies) for each in people * 3))
    assert sum(calls(nodes, "evalsha")) == len(slots)


@pytest.mark.parametrize("algorithm", ["sliding-window", "gcra"])
async def test_policies_in_several_slots_are_still_all_or_nothing(
    limiter: Limiter, nodes: list[ClusterNode], algorithm: Any
) -> None:
    by_account = Policy.parse("8/hour", name="account", by="account", algorithm=algorithm)
    by_address = Policy.parse("3/hour", name="address", by="address", algorithm=algorithm)
    home = RateLimitCaller("192.0.2.7", account=ACCOUNT)
    away = RateLimitCaller("198.51.100.7", account=ACCOUNT)
    keys = RedisStore(SecretStr("redis://x"), service="x", timeout=1).keys(
        limiter._compiler.compile((by_account, by_address), frozenset()).policies, home
    )
    assert len({slot_of(key) for key in keys}) == 2
    decisions = [await limiter.hit(home, (by_account, by_address)) for _ in range(3)]
    assert all(decision.allowed for decision in decisions)
    refused = await asyncio.gather(
        *(limiter.hit(home, (by_account, by_address)) for _ in range(20))
    )
    assert not any(decision.allowed for decision in refused)
    assert {decision.violated for decision in refused} <= {("address",), ("account", "address")}
    await asyncio.sleep(0.05)  # what was taken is taken back one round trip later
    elsewhere = [await limiter.hit(away, (by_account,)) for _ in range(6)]
    assert [decision.allowed for decision in elsewhere] == [True] * 5 + [False]
    assert decisions[0].backend.name == refused[0].backend.name == "redis"


async def test_a_slot_that_moves_is_followed(limiter: Limiter, nodes: list[ClusterNode]) -> None:
    who = RateLimitCaller("203.0.113.9")
    slot = slot_of(f"rl:{{x:{who.key_for('address')}}}:a")
    owner = next(at for at in range(3) if SLOTS * at // 3 <= slot < SLOTS * (at + 1) // 3)
    target = nodes[(owner + 1) % 3]
    target_id = target.ask("CLUSTER", "MYID").decode()
    target.ask("CLUSTER", "BUMPEPOCH")  # so that no other node's older map wins
    for node in (target, nodes[owner], nodes[(owner + 2) % 3]):
        node.ask("CLUSTER", "SETSLOT", slot, "NODE", target_id)
    decisions = [await limiter.hit(who, FIVE) for _ in range(6)]
    assert [decision.allowed for decision in decisions] == [True] * 5 + [False]
    assert {decision.backend.name for decision in decisions[:5]} == {"redis"}

    async def the_map_was_asked_for() -> bool:
        return sum(calls(nodes, "cluster|slots")) > 0

    await eventually(the_map_was_asked_for, seconds=5)
    with Redis(port=target.port) as client:
        assert client.keys(f"rl:{{x:{who.key_for('address')}}}:*")


async def test_a_slot_on_its_way_is_asked_for_at_its_new_node(
    limiter: Limiter, nodes: list[ClusterNode]
) -> None:
    who = RateLimitCaller("203.0.113.77")
    slot = slot_of(f"rl:{{x:{who.key_for('address')}}}:a")
    owner = next(at for at in range(3) if SLOTS * at // 3 <= slot < SLOTS * (at + 1) // 3)
    source, target = nodes[owner], nodes[(owner + 1) % 3]
    target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source.ask("CLUSTER", "MYID").decode())
    source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target.ask("CLUSTER", "MYID").decode())
    try:
        decisions = [await limiter.hit(who, FIVE) for _ in range(6)]
        assert [decision.allowed for decision in decisions] == [True] * 5 + [False]
        assert {decision.backend.name for decision in decisions[:5]} == {"redis"}
    finally:
        for node in (source, target):
            node.ask("CLUSTER", "SETSLOT", slot, "STABLE")


async def test_a_node_that_dies_takes_only_its_own_callers_to_the_fallback(
    limiter: Limiter, nodes: list[ClusterNode]
) -> None:
    async def backends() -> Counter[str]:
        people = [RateLimitCaller(f"198.51.100.{number}") for number in range(60)]
        return Counter(
            decision.backend.name
            for decision in await asyncio.gather(
                *(limiter.hit(each, (Policy.parse("9000/minute", name="p", by="address"),))
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
