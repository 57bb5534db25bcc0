"""The limiter: may this request be served, and what is the caller told?

It knows the answer at once where it counts in its own memory, where Redis is away, or where the
caller is already over a limit. Otherwise it asks Redis, once a request, whatever the number of
policies.
"""

import asyncio
from typing import Self, cast

from service_platform.ratelimit.decision import FALLBACK, MEMORY, REDIS, REFUSAL, Decision
from service_platform.ratelimit.identity import Identity
from service_platform.ratelimit.memory import MemoryStore
from service_platform.ratelimit.plan import MICROSECONDS, Plan, Plans
from service_platform.ratelimit.policy import Policy
from service_platform.ratelimit.question import Answer, Question
from service_platform.ratelimit.redis_store import RedisStore
from service_platform.ratelimit.refusals import Refusal, Refusals
from service_platform.resources import HealthCheckError
from service_platform.settings import PlatformSettings


class Limiter:
    """Decides requests; a resource of the service.

    Args:
        redis: shared count; without it this process counts alone.
        memory: the in-process store, also the fallback while Redis is away.
        replicas: processes that share the limits while Redis is away.
        shadow: decide and count, never refuse.
    """

    name = "limiter"
    critical = False

    def __init__(
        self,
        redis: RedisStore | None = None,
        *,
        memory: MemoryStore | None = None,
        replicas: int = 1,
        shadow: bool = False,
    ) -> None:
        self._redis = redis
        self._memory = memory or MemoryStore()
        self._refusals = Refusals()
        self._plans = Plans(replicas=replicas, shadow=shadow)
        self._loop: asyncio.AbstractEventLoop | None = None

    @classmethod
    def from_settings(cls, settings: PlatformSettings, redis: object | None = None) -> Self:
        """The limiter a service's settings describe.

        Args:
            settings: `RATE_LIMIT_*`, `REDIS_URL`.
            redis: the service's Redis resource; a service without one counts in memory. The
                limiter has a connection of its own: its time budget is another.
        """
        store = None
        if redis is not None and settings.rate_limit_backend == "redis":
            store = RedisStore(
                settings.redis_url,
                service=settings.project_name,
                budget=settings.rate_limit_timeout_seconds,
            )
        return cls(store, replicas=settings.rate_limit_replicas, shadow=settings.rate_limit_shadow)

    async def start(self) -> None:
        """Connect to Redis, where there is one. It may be away."""
        if self._redis is not None:
            self._loop = asyncio.get_running_loop()
            await self._redis.start()

    async def stop(self) -> None:
        """Close the connections."""
        if self._redis is not None:
            await self._redis.stop()

    async def check(self) -> None:
        """Say whether the shared count is in use."""
        if self._redis is not None and not self._redis.usable:
            raise HealthCheckError("redis_unavailable")

    def decide(
        self, identity: Identity, policies: tuple[Policy, ...], cost: int = 1
    ) -> Decision | asyncio.Future[Decision]:
        """Decide all policies of a request together, all or nothing.

        Args:
            identity: who asks.
            policies: each with a name of its own.
            cost: multiplies the cost of each policy.

        Returns:
            The decision where it is known at once, else a future of it that never fails.
        """
        plan = self._plans.find(policies, identity.roles)
        redis = self._redis
        if redis is None or not policies:
            answer = self._memory.decide(plan.terms, identity, cost)
            return Decision(plan, answer, MEMORY)
        if self._loop is None:  # not started
            return self._by_itself(plan, identity, cost)
        keys = redis.keys(plan.terms, identity)
        now = self._loop.time()
        if self._refusals:
            refused = self._remembered(plan, keys, cost, now)
            if refused is not None:
                return refused
        if not redis.worth_asking:
            return self._by_itself(plan, identity, cost)
        return self._ask(plan, keys, identity, cost, now)

    async def take(
        self, identity: Identity, policies: tuple[Policy, ...], cost: int = 1
    ) -> Decision:
        """`decide` for code that does not mind waiting in every case."""
        answer = self.decide(identity, policies, cost)
        return answer if isinstance(answer, Decision) else await answer

    def _remembered(
        self, plan: Plan, keys: tuple[str, ...], cost: int, now: float
    ) -> Decision | None:
        """The refusal of an earlier request that holds for this one as well."""
        for at, (term, key) in enumerate(zip(plan.terms, keys, strict=True)):
            refusal = None if term.shadow else self._refusals.find(key, term, cost, now)
            if refusal is not None:
                wait = int((refusal.until - now) * MICROSECONDS) + 1
                return Decision(plan.only(at), [-1 - refusal.left, wait], REFUSAL)
        return None

    def _by_itself(self, plan: Plan, identity: Identity, cost: int) -> Decision:
        """Decide with what this process alone has seen, at its part of the limit."""
        answer = self._memory.decide(plan.local, identity, cost)
        return Decision(plan, answer, FALLBACK)

    def _ask(
        self,
        plan: Plan,
        keys: tuple[str, ...],
        identity: Identity,
        cost: int,
        now: float,
    ) -> asyncio.Future[Decision]:
        redis = cast("RedisStore", self._redis)
        loop = cast("asyncio.AbstractEventLoop", self._loop)
        decided: asyncio.Future[Decision] = loop.create_future()

        def resolve(question: Question, answer: Answer | None) -> None:
            if decided.done():  # the request was cancelled while it waited
                return
            if answer is None:
                decided.set_result(self._by_itself(plan, identity, cost))
                return
            decision = Decision(plan, answer, REDIS)
            if not decision.allowed and not question.split:
                self._remember(plan, question, answer, now)
            decided.set_result(decision)

        redis.submit(Question(plan.terms, keys, cost, resolve))
        return decided

    def _remember(self, plan: Plan, question: Question, answer: Answer, now: float) -> None:
        holds_until = now + cast("RedisStore", self._redis).refusal_holds
        for at in plan.visible:
            left, wait = answer[2 * at], answer[2 * at + 1]
            if left < 0:
                term = plan.terms[at]
                until = now + wait / MICROSECONDS
                cost = term.cost * question.cost
                refusal = Refusal(until, term.quota, cost, -1 - left, holds_until)
                self._refusals.add(question.keys[at], refusal)
