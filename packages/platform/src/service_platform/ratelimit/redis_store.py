"""Counts shared by all processes, in Redis or Valkey: one script call a turn of the event loop.

Questions that arrive in one turn wait for its end and travel together, in a cluster those of one
slot. The server decides them one after the other on its own clock.
"""

import asyncio
import math
import time
from collections.abc import Sequence
from typing import Final, cast

import hiredis
from pydantic import SecretStr

from service_platform.ratelimit.circuit_breaker import CircuitBreaker, kind_of
from service_platform.ratelimit.cluster import REFUSAL_HOLDS_SECONDS, Cluster
from service_platform.ratelimit.identity import Identity, plain
from service_platform.ratelimit.metrics import call_duration, redis_errors
from service_platform.ratelimit.plan import Plan, Term
from service_platform.ratelimit.policy import Policy
from service_platform.ratelimit.question import Question
from service_platform.ratelimit.redis_connection import (
    Address,
    OverdueError,
    RedisConnection,
    Reply,
)
from service_platform.ratelimit.script import DECIDE, Script
from service_platform.redis_connection import unsupported
from service_platform.resources import StartError

MOST_IN_ONE_CALL: Final = 128
"""A script holds up the server while it runs: some microseconds for each key."""

CONNECT_WAIT_SECONDS: Final = 1.0
MOST_REDIRECTS: Final = 3

_ABOUT_ONE_CALL: Final = frozenset({"ERR", "WRONGTYPE", "ASK", "TRYAGAIN", "BUSY"})
"""Errors that say nothing about the next call."""

_ABOUT_ONE_SLOT: Final = frozenset({"MOVED", "CLUSTERDOWN"})
"""Errors that in a cluster say nothing about the node; elsewhere it is the wrong server."""

_ASKING: Final = b"*1\r\n$6\r\nASKING\r\n"


class RedisStore:
    """The limiter's side of one Redis or one cluster.

    Args:
        url: as redis-py reads it; whether it is a cluster is found out.
        service: keeps the counts of services apart that share a Redis.
        budget: seconds an answer may take.
        script: decides.
    """

    def __init__(
        self, url: SecretStr, *, service: str, budget: float, script: Script = DECIDE
    ) -> None:
        self._service = plain(service)
        self._script = script
        self._budget = budget
        self._seed = CircuitBreaker(
            Address.of_url(url), budget=budget, introduce=self._introduce_seed
        )
        self._cluster: Cluster | None = None
        self._mode = ""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pending: list[Question] = []

    async def start(self) -> None:
        """Connect, and wait a moment for it; Redis may as well be away.

        Raises:
            StartError: the address is a Sentinel's.
        """
        self._loop = asyncio.get_running_loop()
        self._seed.begin()
        await self._seed.first_try(CONNECT_WAIT_SECONDS)
        if self._mode == "sentinel":
            await self.stop()
            raise StartError(unsupported("sentinel"))

    async def stop(self) -> None:
        """Close every connection."""
        if self._cluster is not None:
            await self._cluster.stop()
            self._cluster = None
        await self._seed.stop()

    @property
    def usable(self) -> bool:
        """Whether decisions can be had at once; in a cluster, for every caller."""
        if self._cluster is not None:
            return self._cluster.usable
        return self._seed.usable

    @property
    def refusal_holds(self) -> float:
        """Seconds for which a refusal is certain, as far as its reset is not earlier."""
        return math.inf if self._cluster is None else REFUSAL_HOLDS_SECONDS

    @property
    def worth_asking(self) -> bool:
        """Whether some decisions can be had."""
        return self._cluster is not None or self._seed.usable

    def keys(self, terms: tuple[Term, ...], identity: Identity) -> tuple[str, ...]:
        """The keys of a caller. What stands in braces is the same for all that go by one thing."""
        service = self._service
        return tuple(
            [f"rl:{{{service}:{identity.counted_by(term.by)}}}:{term.key}" for term in terms]
        )

    def submit(self, question: Question) -> None:
        """Ask at the end of this turn of the event loop."""
        pending = self._pending
        pending.append(question)
        if len(pending) == 1:
            assert self._loop is not None, "start() comes first"  # noqa: S101
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        pending, self._pending = self._pending, []
        if self._cluster is None:
            self._send_all(self._seed, pending)
            return
        for slot, questions in self._cluster.by_slot(pending).items():
            self._send_all(self._cluster.breaker_of(slot), questions)

    def _send_all(self, breaker: CircuitBreaker | None, questions: Sequence[Question]) -> None:
        for at in range(0, len(questions), MOST_IN_ONE_CALL):
            chunk = questions[at : at + MOST_IN_ONE_CALL]
            if breaker is None:
                self._give_up(chunk)
            else:
                self._send(breaker, chunk)

    def _send(
        self,
        breaker: CircuitBreaker,
        questions: Sequence[Question],
        *,
        with_text: bool = False,
        asking: bool = False,
        redirects: int = 0,
    ) -> None:
        sent = time.perf_counter()

        def done(reply: Reply) -> None:
            if isinstance(reply, list):
                call_duration.observe(time.perf_counter() - sent)
                _hand_out(questions, reply)
            elif isinstance(reply, hiredis.ReplyError):
                self._correct(breaker, questions, reply, with_text, redirects)
            else:
                self._give_up(questions)

        if asking:
            breaker.call(_ASKING, _ignore)
        breaker.call(self._script.command(questions, with_text=with_text), done)

    def _correct(
        self,
        breaker: CircuitBreaker,
        questions: Sequence[Question],
        error: hiredis.ReplyError,
        with_text: bool,
        redirects: int,
    ) -> None:
        """Ask again where the error tells how; nothing was counted by a call that failed so."""
        kind = kind_of(error)
        redis_errors.labels(kind).inc()
        if kind == "NOSCRIPT" and not with_text:
            self._send(breaker, questions, with_text=True, redirects=redirects)
            return
        if kind in {"MOVED", "ASK"} and self._cluster is not None and redirects < MOST_REDIRECTS:
            target = self._cluster.moved(error)
            if target is not None:
                self._send(target, questions, asking=kind == "ASK", redirects=redirects + 1)
                return
        elif kind not in _ABOUT_ONE_CALL and not (self._cluster and kind in _ABOUT_ONE_SLOT):
            breaker.report(error)
        self._give_up(questions)

    def _give_up(self, questions: Sequence[Question]) -> None:
        for question in questions:
            question.resolve(question, None)

    async def _introduce_seed(self, connection: RedisConnection) -> None:
        """Greet the node of the URL and find out whether it belongs to a cluster."""
        self._mode = await _greet(connection, self._seed.address)
        if self._mode != "cluster":
            await self._prove_writable(connection)
            return
        if self._cluster is None:
            self._cluster = Cluster(self._seed, budget=self._budget, introduce=self._introduce_node)
        await self._cluster.start(connection)

    async def _introduce_node(self, connection: RedisConnection) -> None:
        await _greet(connection, self._seed.address)
        await connection.ask("SCRIPT", "LOAD", self._script.text)

    async def _prove_writable(self, connection: RedisConnection) -> None:
        """Decide something: a replica or a full server greets politely, but cannot count."""
        probe = Policy.parse("10000/second", algorithm="gcra", name="probe")
        answered: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

        def done(reply: Reply) -> None:
            if not answered.done():
                answered.set_result(reply)

        terms = Plan((probe,)).terms
        question = Question(terms, self.keys(terms, Identity("")), 1, lambda *_: None)
        connection.send(self._script.command([question], with_text=True), done)
        reply = await answered
        if isinstance(reply, Exception):
            raise reply
        if not isinstance(reply, list):
            raise OverdueError("Redis answered something else.")


def _hand_out(questions: Sequence[Question], reply: list[int]) -> None:
    clock, at = reply[0], 1
    for question in questions:
        end = at + 2 * len(question.terms)
        question.clock = clock
        question.resolve(question, reply[at:end])
        at = end


async def _greet(connection: RedisConnection, address: Address) -> str:
    """Authenticate, choose the database; returns the server's mode.

    Raises:
        hiredis.ReplyError: the password is wrong, or the user may not do that.
        OSError: there is no answer.
    """
    login: tuple[str, ...] = ()
    if address.password is not None:
        login = ("AUTH", address.username or "default", address.password.get_secret_value())
    hello = cast("list[object]", await connection.ask("HELLO", 2, *login))
    facts = dict(zip(hello[::2], hello[1::2], strict=True))
    if address.database:
        await connection.ask("SELECT", address.database)
    mode = facts.get(b"mode", b"standalone")
    return mode.decode() if isinstance(mode, bytes) else str(mode)


def _ignore(_: Reply) -> None:
    """The reply of `ASKING` says nothing."""
