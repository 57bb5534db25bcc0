"""Prometheus metrics of jobs. Gauges measure PostgreSQL, the same in every process."""

from prometheus_client import Counter, Gauge, Histogram

queued = Gauge("jobs_queued", "Jobs that could run now.", ("name",), multiprocess_mode="mostrecent")
delayed = Gauge(
    "jobs_delayed",
    "Jobs that wait for their time or their next attempt.",
    ("name",),
    multiprocess_mode="mostrecent",
)
running = Gauge("jobs_running", "Jobs that run.", ("name",), multiprocess_mode="mostrecent")
dead_letters = Gauge(
    "jobs_dead_letters",
    "Jobs that failed for good, waiting for a retry.",
    ("name",),
    multiprocess_mode="mostrecent",
)
oldest_seconds = Gauge(
    "jobs_oldest_seconds",
    "Since when the oldest of the queued jobs could run.",
    ("name",),
    multiprocess_mode="mostrecent",
)
attempts = Counter(
    "jobs_attempts_total",
    "Attempts that ended, by outcome: succeeded, failed, given_back, lost.",
    ("name", "outcome"),
)
duration_seconds = Histogram(
    "jobs_duration_seconds",
    "Length of an attempt.",
    ("name",),
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800),
)
delay_seconds = Histogram(
    "jobs_delay_seconds",
    "From the time a job could run to the begin of its attempt.",
    ("name",),
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800),
)
