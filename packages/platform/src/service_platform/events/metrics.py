"""Prometheus metrics of events. Gauges measure PostgreSQL and Redis, the same in every replica."""

from prometheus_client import Counter, Gauge, Histogram

outbox_pending = Gauge(
    "events_outbox_pending",
    "Events written and not yet relayed.",
    ("stream",),
    multiprocess_mode="mostrecent",
)
outbox_oldest_seconds = Gauge(
    "events_outbox_oldest_seconds",
    "Age of the oldest event not yet relayed.",
    ("stream",),
    multiprocess_mode="mostrecent",
)
relayed = Counter("events_relayed_total", "Events put into the stream.", ("stream",))
relayed_again = Counter(
    "events_relayed_again_total",
    "Events put into the stream again after Redis lost them.",
    ("stream",),
)
stream_entries = Gauge(
    "events_stream_entries", "Length of the stream.", ("stream",), multiprocess_mode="mostrecent"
)
consumer_lag_seconds = Gauge(
    "events_consumer_lag_seconds",
    "Age of the oldest event in the stream that a group has not applied.",
    ("stream", "group"),
    multiprocess_mode="mostrecent",
)
consumer_pending = Gauge(
    "events_consumer_pending",
    "Events delivered to a group and not yet applied.",
    ("stream", "group"),
    multiprocess_mode="mostrecent",
)
dead_letters = Gauge(
    "events_dead_letters",
    "Events a group could not apply, waiting for a replay.",
    ("stream", "group"),
    multiprocess_mode="mostrecent",
)
handled = Counter(
    "events_handled_total",
    "Events that came, by outcome: applied, duplicate, superseded, ignored.",
    ("stream", "type", "outcome"),
)
failures = Counter("events_failures_total", "Failed tries to apply an event.", ("stream", "type"))
delay_seconds = Histogram(
    "events_delay_seconds",
    "From publishing an event to having applied it.",
    ("stream",),
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800),
)
