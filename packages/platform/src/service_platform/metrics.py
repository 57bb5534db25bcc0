"""Defines the Prometheus metrics of requests; other modules have theirs beside what they measure.

Children of labelled metrics are looked up once and kept: `labels()` on the request path would cost
more than the observation itself.
"""

import os
from collections.abc import Callable
from typing import Final

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

METRICS_PATH: Final = "/metrics"

DURATION_BUCKETS: Final = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
)  # fmt: skip

UNMATCHED_ROUTE: Final = "unmatched"
"""The `route` of requests that no route of the service matches."""

request_duration = Histogram(
    "http_server_request_duration_seconds",
    "Time from the first byte of a request to the end of its response.",
    ("method", "route", "status"),
    buckets=DURATION_BUCKETS,
)
active_requests = Gauge(
    "http_server_active_requests",
    "Requests being answered.",
    multiprocess_mode="livesum",
)
websocket_connections = Gauge(
    "websocket_connections",
    "Open WebSockets.",
    ("route",),
    multiprocess_mode="livesum",
)
websocket_duration = Histogram(
    "websocket_connection_duration_seconds",
    "Time from the handshake of a WebSocket to its end.",
    ("route", "close_code"),
    buckets=(0.1, 1.0, 10.0, 60.0, 300.0, 1800.0, 7200.0),
)
websocket_messages = Counter(
    "websocket_messages_total", "Messages of WebSockets.", ("route", "direction")
)
log_lines_dropped = Counter(
    "log_lines_dropped_total", "Log lines dropped because their reader is too slow."
)


class ActiveRequests:
    """Counts the requests being answered, for the gauge.

    A plain number that the gauge reads at a scrape costs a request a tenth of what the gauge's own
    lock does. With several processes each has to write its number where the others can read it.
    """

    __slots__ = ("_number", "_shared")

    def __init__(self) -> None:
        self._number = 0
        self._shared = "PROMETHEUS_MULTIPROC_DIR" in os.environ
        if not self._shared:
            active_requests.set_function(lambda: self._number)

    def begin(self) -> None:
        """Count a request that begins."""
        self._number += 1
        if self._shared:
            active_requests.inc()

    def end(self) -> None:
        """Stop counting a request that has ended."""
        self._number -= 1
        if self._shared:
            active_requests.dec()


requests_in_flight: Final = ActiveRequests()

_KNOWN_METHODS: Final = frozenset(
    {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"}
)
_observe: dict[tuple[str, str, int], Callable[[float], None]] = {}


def observe_request(method: str, route: str, status: int, seconds: float) -> None:
    """Count one answered request.

    `route` is the path template, never the path: the number of time series must not depend on
    what callers send. Methods outside of RFC 9110 and PATCH count as `_OTHER`.
    """
    observe = _observe.get((method, route, status))
    if observe is None:
        known = method if method in _KNOWN_METHODS else "_OTHER"
        observe = request_duration.labels(known, route, str(status)).observe
        if known == method:
            _observe[method, route, status] = observe
    observe(seconds)


def metrics_routes() -> list[Route]:
    """Return the route of `/metrics`, in the Prometheus text format."""
    return [Route(METRICS_PATH, _metrics, methods=["GET"], include_in_schema=False)]


async def _metrics(_: Request) -> Response:
    registry: CollectorRegistry = REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        # Several workers answer as one: each writes its numbers where all can read them.
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return Response(generate_latest(registry), headers={"content-type": CONTENT_TYPE_LATEST})
