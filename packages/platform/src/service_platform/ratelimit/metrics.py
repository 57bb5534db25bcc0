"""Define the Prometheus metrics of the rate limiter."""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

decisions: Final = Counter(
    "rate_limit_decisions_total",
    "Requests decided by the rate limiter, by outcome and by where the count was kept.",
    ("decision", "backend"),
)
violations: Final = Counter(
    "rate_limit_violations_total",
    "Requests a policy had no room for; in shadow mode they were served all the same.",
    ("policy", "mode"),
)
redis_errors: Final = Counter(
    "rate_limit_redis_errors_total",
    "Calls of the rate limiter that Redis did not answer, or with an error, by kind.",
    ("kind",),
)
redis_usable: Final = Gauge(
    "rate_limit_redis_usable",
    "1 while the rate limiter counts in Redis, 0 while it falls back to the process.",
    ("node",),
    multiprocess_mode="livemin",
)
call_duration: Final = Histogram(
    "rate_limit_redis_call_duration_seconds",
    "Time from sending the checks of one turn of the event loop to their answer.",
    buckets=(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25),
)
keys_evicted: Final = Counter(
    "rate_limit_keys_forgotten_total",
    "Callers the in-process store forgot while they still counted, to stay within its memory.",
)
