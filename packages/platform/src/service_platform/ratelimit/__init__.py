"""Rate limits: exact, shared by all processes, at most one round trip a request.

Read `policy.py` for what can be said, `limiter.py` for how it is decided, `decide.lua` for the
count in Redis, `memory.py` for the count in a process, `circuit_breaker.py` for what happens while
Redis is away.
"""

from service_platform.ratelimit.decision import Backend, Decision
from service_platform.ratelimit.identity import Identity
from service_platform.ratelimit.limiter import Limiter
from service_platform.ratelimit.memory import MemoryStore
from service_platform.ratelimit.policy import Policy, declared_policies, limit
from service_platform.ratelimit.rate import Rate
from service_platform.ratelimit.redis_store import RedisStore

__all__ = [
    "Backend",
    "Decision",
    "Identity",
    "Limiter",
    "MemoryStore",
    "Policy",
    "Rate",
    "RedisStore",
    "declared_policies",
    "limit",
]
