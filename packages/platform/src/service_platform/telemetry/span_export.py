"""Exports spans in the background: bounded, counted, and never at the cost of a request."""

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Final

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from prometheus_client import Counter

from service_platform.logging import get_logger

spans_exported = Counter("telemetry_spans_exported_total", "Spans that a collector has taken.")
spans_dropped = Counter(
    "telemetry_spans_dropped_total",
    "Spans that were dropped: the queue was full, the collector did not take them, or the process "
    "ended before it did.",
    ("reason",),
)
exporter_logger: Final = logging.getLogger("opentelemetry.exporter.otlp")
log = get_logger("service_platform.telemetry")

DEFAULT_BATCH_SIZE: Final = 512
"""OpenTelemetry's own default of `OTEL_BSP_MAX_EXPORT_BATCH_SIZE`."""
DEFAULT_DELAY_SECONDS: Final = 5.0
"""OpenTelemetry's own default of `OTEL_BSP_SCHEDULE_DELAY`."""

QUEUE_FULL: Final = "queue_full"
EXPORT_FAILED: Final = "export_failed"
SHUTDOWN: Final = "shutdown"

for _reason in (QUEUE_FULL, EXPORT_FAILED, SHUTDOWN):
    spans_dropped.labels(_reason)  # 0 is said, too, so that a rise from it is seen


class SpanQueue(SpanProcessor):
    """Keeps ended spans until they are exported, at most `size`; more are dropped and counted.

    Args:
        exporter: sends them to the collector.
        size: the most spans that wait.
        batch_size: the most spans that are sent at once; not more than `size`.
        delay_seconds: between two batches, where they are not full before.
    """

    def __init__(
        self,
        exporter: SpanExporter,
        size: int,
        *,
        batch_size: int = DEFAULT_BATCH_SIZE,
        delay_seconds: float = DEFAULT_DELAY_SECONDS,
    ) -> None:
        self._size = size
        self._waiting = 0
        self._lock = threading.Lock()
        self._closed = False
        self._batches = BatchSpanProcessor(
            _CountingExporter(exporter, self._left_queue),
            max_queue_size=size,
            max_export_batch_size=min(batch_size, size),
            schedule_delay_millis=delay_seconds * 1000,
        )

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Do nothing."""

    def on_end(self, span: ReadableSpan) -> None:
        """Put a span into the queue."""
        if span.context is None or not span.context.trace_flags.sampled:
            return
        with self._lock:
            dropped = SHUTDOWN if self._closed else QUEUE_FULL if self._is_full() else None
            if dropped is None:
                self._waiting += 1
        if dropped is None:
            self._batches.on_end(span)
        else:
            spans_dropped.labels(dropped).inc()

    def shutdown(self) -> None:
        """Export what waits, and end; what a slow collector has not taken by then is lost."""
        with self._lock:
            self._closed = True
        self._batches.shutdown()  # type: ignore[no-untyped-call]

    def give_up(self) -> int:
        """Count what still waits as dropped; return how many spans that are."""
        with self._lock:
            lost, self._waiting = self._waiting, 0
        spans_dropped.labels(SHUTDOWN).inc(lost)
        return lost

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Export what waits."""
        return self._batches.force_flush(timeout_millis)

    def _is_full(self) -> bool:
        return self._waiting >= self._size

    def _left_queue(self, count: int) -> int:
        """Return how many of those are still to be counted; none after `give_up`."""
        with self._lock:
            count = min(count, self._waiting)
            self._waiting -= count
        return count


class _CountingExporter(SpanExporter):
    """Counts what an exporter has sent and what it has not."""

    def __init__(self, exporter: SpanExporter, left_queue: Callable[[int], int]) -> None:
        self._exporter = exporter
        self._left_queue = left_queue
        self._failing = False
        exporter_logger.setLevel(logging.ERROR)  # not of every try

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export spans; an exporter that fails in whatever way has dropped them."""
        try:
            result = self._exporter.export(spans)
        except Exception:  # noqa: BLE001 - a collector may answer anything
            result = SpanExportResult.FAILURE
        count = self._left_queue(len(spans))
        self._tell(failing=result is not SpanExportResult.SUCCESS)
        if result is SpanExportResult.SUCCESS:
            spans_exported.inc(count)
        else:
            spans_dropped.labels(EXPORT_FAILED).inc(count)
        return result

    def shutdown(self) -> None:
        """End the exporter."""
        self._exporter.shutdown()

    def _tell(self, *, failing: bool) -> None:
        """Log the begin and the end of an outage; the reason was logged by the exporter itself."""
        if failing == self._failing:
            return
        self._failing = failing
        exporter_logger.setLevel(logging.CRITICAL if failing else logging.ERROR)
        if failing:
            log.warning("telemetry_dropped", metric="telemetry_spans_dropped_total")
        else:
            log.info("telemetry_exported_again")


__all__ = ["SpanQueue", "spans_dropped", "spans_exported"]
