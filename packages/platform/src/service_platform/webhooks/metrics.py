"""Prometheus metrics of webhooks."""

from prometheus_client import Counter, Histogram

attempts = Counter(
    "webhooks_attempts_total",
    "Requests to subscribers that ended, by outcome: succeeded, rejected (another status than "
    "2xx), timeout, connect_error, broken_off, unknown_host, address_refused.",
    ("outcome",),
)
duration_seconds = Histogram(
    "webhooks_duration_seconds",
    "Time of a request to a subscriber.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
given_up = Counter("webhooks_given_up_total", "Deliveries whose last attempt failed.")
disabled = Counter(
    "webhooks_disabled_total",
    "Subscriptions that were disabled because they failed for long (failing) or asked for it with "
    "the status 410 (gone).",
    ("reason",),
)
