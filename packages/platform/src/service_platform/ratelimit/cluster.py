"""Redis Cluster: which node has which slot, and requests whose keys lie in several slots.

A script call can only touch keys of one slot. All keys of one caller are in one, so nearly every
request is one call. Only a request with policies by different things (account and address) may be
two: both take, and if one refuses, the other takes back what it took. No quota is ever exceeded by
that; for the time of a round trip a caller may seem to have used more than it has.
"""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Final, cast

import hiredis
from redis.crc import key_slot

from service_platform.ratelimit.circuit_breaker import CircuitBreaker, Introduce
from service_platform.ratelimit.question import Answer, Question
from service_platform.ratelimit.redis_connection import RedisConnection, Reply, packed
from service_platform.ratelimit.script import UNDO

REFUSAL_HOLDS_SECONDS: Final = 1.0
"""How long a refusal is believed here: units another request took for a moment come back."""

REFRESH_SECONDS: Final = 30.0
REFRESH_WHILE_BROKEN_SECONDS: Final = 0.5


def slot_of(key: str) -> int:
    """The cluster slot of a key; only what stands in braces counts."""
    return key_slot(key.encode("ascii"))


class Cluster:
    """The nodes of a cluster and their slots, kept up to date.

    Args:
        seed: connection to any node; asked for the map when no other is usable.
        budget: see `CircuitBreaker`.
        introduce: see `CircuitBreaker`.
    """

    def __init__(self, seed: CircuitBreaker, *, budget: float, introduce: Introduce) -> None:
        self._seed = seed
        self._budget = budget
        self._introduce = introduce
        self._breakers: dict[str, CircuitBreaker] = {}
        self._slots: dict[int, CircuitBreaker] = {}
        self._ranges: list[tuple[int, int, CircuitBreaker]] = []
        self._stale = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._ending: set[asyncio.Task[None]] = set()

    async def start(self, connection: RedisConnection) -> None:
        """Learn the map over a fresh connection and connect to every node.

        Raises:
            hiredis.ReplyError: the node does not tell.
            OSError: the node does not answer.
        """
        self._adopt(await connection.ask("CLUSTER", "SLOTS"))
        await asyncio.gather(*(breaker.first_try() for breaker in self._breakers.values()))
        if self._task is None:
            self._task = asyncio.create_task(self._keep_map(), name="redis cluster map")

    async def stop(self) -> None:
        """Close all connections but the seed's."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        await asyncio.gather(
            *(breaker.stop() for breaker in self._breakers.values()), *self._ending
        )
        self._breakers.clear()

    @property
    def usable(self) -> bool:
        """Whether every slot's node answers."""
        return bool(self._ranges) and all(breaker.usable for breaker in self._breakers.values())

    def breaker_of(self, slot: int) -> CircuitBreaker | None:
        """The node of a slot, as far as known."""
        breaker = self._slots.get(slot)
        if breaker is None:
            for first, last, candidate in self._ranges:
                if first <= slot <= last:
                    breaker = self._slots[slot] = candidate
                    break
        return breaker

    def moved(self, error: hiredis.ReplyError) -> CircuitBreaker | None:
        """The node that a `MOVED` or `ASK` error names; after `MOVED` the map is asked for anew."""
        kind, _, rest = str(error).partition(" ")
        slot, _, place = rest.partition(" ")
        host, _, port = place.rpartition(":")
        if not port.isdigit() or not slot.isdigit():
            return None
        breaker = self._breaker_of(host or self._seed.address.host, int(port))
        if kind == "MOVED":
            self._slots[int(slot)] = breaker
            self._stale.set()
        return breaker

    def by_slot(self, questions: Iterable[Question]) -> dict[int, list[Question]]:
        """Sort questions by slot; those of several slots are split."""
        sorted_questions: dict[int, list[Question]] = {}
        for question in questions:
            slots = [slot_of(key) for key in question.keys]
            if len(set(slots)) == 1:
                sorted_questions.setdefault(slots[0], []).append(question)
                continue
            question.split = True
            for slot, part in Split(self, question, slots).parts.items():
                sorted_questions.setdefault(slot, []).append(part)
        return sorted_questions

    def _adopt(self, reply: Reply) -> None:
        """Take over a map as `CLUSTER SLOTS` tells it; connections that lost all slots close."""
        ranges = []
        for first, last, master, *_ in cast("list[list[object]]", reply):
            host, port = cast("list[object]", master)[:2]
            name = host.decode() if isinstance(host, bytes) and host else self._seed.address.host
            breaker = self._breaker_of(name, int(str(port)))
            ranges.append((cast("int", first), cast("int", last), breaker))
        self._ranges = ranges
        self._slots.clear()
        used = {id(breaker) for _, _, breaker in ranges}
        for address, breaker in list(self._breakers.items()):
            if id(breaker) not in used:
                del self._breakers[address]
                task = asyncio.create_task(breaker.stop())
                self._ending.add(task)
                task.add_done_callback(self._ending.discard)

    def _breaker_of(self, host: str, port: int) -> CircuitBreaker:
        address = self._seed.address.at(host, port)
        breaker = self._breakers.get(str(address))
        if breaker is None:
            breaker = self._breakers[str(address)] = CircuitBreaker(
                address, budget=self._budget, introduce=self._introduce
            )
            breaker.begin()
        return breaker

    async def _keep_map(self) -> None:
        """Ask for the map from time to time, soon after a `MOVED`, often while a node is away."""
        while True:
            self._stale.clear()
            pause = REFRESH_SECONDS if self.usable else REFRESH_WHILE_BROKEN_SECONDS
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._stale.wait()
            for breaker in (*self._breakers.values(), self._seed):
                if breaker.usable:
                    with suppress(OSError, hiredis.HiredisError):
                        self._adopt(await breaker.ask("CLUSTER", "SLOTS"))
                    break


class Split:
    """A question whose keys lie in several slots: all or nothing, by taking back.

    Args:
        cluster: where to take back.
        question: the whole one.
        slots: of its keys, in their order.

    Attributes:
        parts: by slot.
    """

    __slots__ = ("_answers", "_cluster", "_open", "_question", "_slots", "parts")

    def __init__(self, cluster: Cluster, question: Question, slots: list[int]) -> None:
        self._cluster = cluster
        self._question = question
        self._slots = slots
        self._answers: dict[int, Answer | None] = {}
        self.parts = {
            slot: question.part(
                [at for at, other in enumerate(slots) if other == slot], self._collect
            )
            for slot in dict.fromkeys(slots)
        }
        self._open = len(self.parts)

    def _collect(self, part: Question, answer: Answer | None) -> None:
        slot = slot_of(part.keys[0])
        self._answers[slot] = answer
        self._open -= 1
        if self._open:
            return
        refused = [
            other is None or is_refusal(self.parts[slot], other)
            for slot, other in self._answers.items()
        ]
        if any(refused):
            for (slot, other), was_refused in zip(self._answers.items(), refused, strict=True):
                if other is not None and not was_refused:
                    self._take_back(slot, other)
        self._question.resolve(self._question, self._merged())

    def _merged(self) -> Answer | None:
        """The parts' answers in the order of the question; `None` when one is missing."""
        waiting = {}
        for slot, answer in self._answers.items():
            if answer is None:
                return None
            waiting[slot] = iter(answer)
        merged: Answer = []
        for slot in self._slots:
            merged += (next(waiting[slot]), next(waiting[slot]))
        return merged

    def _take_back(self, slot: int, answer: Answer) -> None:
        breaker = self._cluster.breaker_of(slot)
        part = self.parts[slot]
        for at, (term, key) in enumerate(zip(part.terms, part.keys, strict=True)):
            if breaker is not None and answer[2 * at] >= 0:
                asked = term.packed(part.cost).split(b"\r\n", 1)[1][:-2]
                command = packed("EVAL", UNDO, 1, key, part.clock, asked)
                breaker.call(command, _ignore)


def is_refusal(question: Question, answer: Answer) -> bool:
    """Whether a policy that is not only in shadow mode has no room."""
    return any(
        left < 0 and not term.shadow for term, left in zip(question.terms, answer[::2], strict=True)
    )


def _ignore(_: Reply) -> None:
    """Without an answer the units come back when they expire."""
