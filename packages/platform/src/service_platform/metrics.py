"""Defines the Prometheus metrics of requests; other modules have theirs beside what they measure.

Children of labelled metrics are looked up once and kept: `labels()` on the request path would cost
more than the observation itself.
"""

import os
from collections.abc import Callable, Iterator
from typing import Final, Protocol

import anyio
from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

METRICS_PATH: Final = "/metrics"

SEVERAL_PROCESSES: Final = "PROMETHEUS_MULTIPROC_DIR" in os.environ
"""Whether `/metrics` answers for several workers; `prometheus_client` decides at its import too."""

# A series more for each counter and histogram, which tells when its process made it. Prometheus
# sees a restart by the value, and the workers of one service have no such moment in common.
disable_created_metrics()  # type: ignore[no-untyped-call]

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

    __slots__ = ("_number",)

    def __init__(self) -> None:
        self._number = 0
        if not SEVERAL_PROCESSES:
            active_requests.set_function(lambda: self._number)

    def begin(self) -> None:
        """Count a request that begins."""
        self._number += 1
        if SEVERAL_PROCESSES:
            active_requests.inc()

    def end(self) -> None:
        """Stop counting a request that has ended."""
        self._number -= 1
        if SEVERAL_PROCESSES:
            active_requests.dec()


requests_in_flight: Final = ActiveRequests()

_KNOWN_METHODS: Final = frozenset(
    {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"}
)


class _Observe(Protocol):
    """`observe` of one child of a histogram."""

    def __call__(self, amount: float, exemplar: dict[str, str] | None = None) -> None: ...


_observe: dict[tuple[str, str, int], _Observe] = {}


def observe_request(
    method: str, route: str, status: int, seconds: float, *, trace_id: str | None = None
) -> None:
    """Count one answered request.

    Args:
        method: of the request; those outside of RFC 9110 and PATCH count as `_OTHER`.
        route: the path template, never the path: the number of time series must not depend on
            what callers send.
        status: of the response.
        seconds: from the first byte of the request to the end of its response.
        trace_id: of a request whose trace is recorded; the exemplar of its bucket, through which a
            dashboard leads to the trace. Several workers show none: what they share are numbers.
    """
    observe = _observe.get((method, route, status))
    if observe is None:
        known = method if method in _KNOWN_METHODS else "_OTHER"
        observe = request_duration.labels(known, route, str(status)).observe
        if known == method:
            _observe[method, route, status] = observe
    if trace_id is None or SEVERAL_PROCESSES:
        observe(seconds)
    else:
        observe(seconds, {"trace_id": trace_id})


def metrics_routes() -> list[Route]:
    """Return the route of `/metrics`, in the Prometheus text format or as OpenMetrics."""
    return [Route(METRICS_PATH, _metrics, methods=["GET"], include_in_schema=False)]


async def _metrics(request: Request) -> Response:
    encode, content_type = choose_format(request.headers.get("accept", ""))
    # Some ten milliseconds for thousands of series, in which the event loop goes on. The limiter
    # is its own: endpoints that block all other threads must not hide it.
    content = await anyio.to_thread.run_sync(
        lambda: encode(_registry()), limiter=anyio.CapacityLimiter(1)
    )
    return Response(content, headers={"content-type": content_type, "vary": "accept"})


def _registry() -> CollectorRegistry:
    if not SEVERAL_PROCESSES:
        return REGISTRY
    # Several workers answer as one: each writes its numbers where all can read them.
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry


_VERSIONS: Final = {
    "application/openmetrics-text": {"", "1.0.0"},
    "text/plain": {"", "0.0.4", "1.0.0"},
    "text/*": {""},
    "*/*": {""},
}
"""Versions of the formats that can be written, by media range."""


def choose_format(accept: str) -> tuple[Callable[[CollectorRegistry], bytes], str]:
    """Choose how the metrics are written.

    `prometheus_client` takes the first acceptable format, whatever its quality; Prometheus sends
    the one it likes best first, others may not.

    Args:
        accept: the header, empty where there is none.

    Returns:
        What writes a registry, and the content type: the acceptable format of the highest quality,
        the Prometheus text format where there is none.
    """
    best = max(_acceptable(accept), key=lambda each: each[0], default=(0.0, ""))
    return choose_encoder(best[1])


def _acceptable(accept: str) -> Iterator[tuple[float, str]]:
    """Find the media ranges that can be written, with their quality (RFC 9110, section 12.5.1)."""
    for media_range in accept.lower().split(","):
        name, *written = (part.strip() for part in media_range.split(";"))
        parameters = {key: value for key, _, value in (part.partition("=") for part in written)}
        try:
            quality = float(parameters.get("q", "1"))
        except ValueError:
            continue
        if parameters.get("version", "") in _VERSIONS.get(name, ()) and quality > 0:
            yield quality, media_range
