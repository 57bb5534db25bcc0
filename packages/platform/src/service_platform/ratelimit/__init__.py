"""Limit the rate of requests: exact counts, shared by all processes through Redis.

A check costs at most one round trip to Redis. Where to read:

- `policy.py`: what can be limited, and the `@limit` decorator.
- `caller.py`: whose quota is used, which other rate limiters call the key function.
- `limiter.py`: how a request is decided.
- `redis_store.py` and `hit.lua`: the counts in Redis.
- `memory_store.py`, `sliding_window.py` and `gcra.py`: the counts in a process.
- `circuit_breaker.py`: what happens while Redis is unavailable.
"""

from service_platform.ratelimit.caller import RateLimitCaller
from service_platform.ratelimit.decision import Backend, Decision
from service_platform.ratelimit.limiter import Limiter
from service_platform.ratelimit.memory_store import MemoryStore
from service_platform.ratelimit.policy import Policy, declared_policies, limit
from service_platform.ratelimit.rate import Rate
from service_platform.ratelimit.redis_store import RedisStore

__all__ = [
    "Backend",
    "Decision",
    "Limiter",
    "MemoryStore",
    "Policy",
    "Rate",
    "RateLimitCaller",
    "RedisStore",
    "declared_policies",
    "limit",
]
