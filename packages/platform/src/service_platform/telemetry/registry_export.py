"""Sends the Prometheus metrics of this process over OTLP, as they are at `/metrics`.

Names and labels stay as they are, so that a dashboard needs no second set of queries. With several
worker processes each sends its own, told apart by `service.instance.id`.
"""

import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any, Final

from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricExporter,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client import Metric as Family
from prometheus_client.samples import Sample

from service_platform.logging import get_logger

DEFAULT_INTERVAL_SECONDS: Final = 60.0
"""OpenTelemetry's own default of `OTEL_METRIC_EXPORT_INTERVAL`."""
SCOPE: Final = InstrumentationScope("service_platform")
STARTED: Final = time.time_ns()

log = get_logger("service_platform.telemetry")

_CUMULATIVE: Final = AggregationTemporality.CUMULATIVE


class RegistryExport:
    """Exports the metrics of the registry again and again, in a thread of its own.

    Args:
        exporter: sends them.
        resource: describes this process.
        interval_seconds: between two exports.
        registry: of `prometheus_client`.
    """

    def __init__(
        self,
        exporter: MetricExporter,
        resource: Resource,
        *,
        interval_seconds: float = DEFAULT_INTERVAL_SECONDS,
        registry: CollectorRegistry = REGISTRY,
    ) -> None:
        self._exporter = exporter
        self._resource = resource
        self._interval = interval_seconds
        self._registry = registry
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="metrics export", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def shutdown(self) -> None:
        """Export once more, and end."""
        self._ending.set()
        self._thread.join()
        self._exporter.shutdown()

    def abort(self) -> None:
        """Stop waiting for the collector."""
        self._ending.set()
        self._exporter.shutdown()

    def _run(self) -> None:
        while not self._ending.wait(self._interval):
            self._export()
        self._export()

    def _export(self) -> None:
        try:
            self._exporter.export(self._collect())
        except Exception as error:  # noqa: BLE001 - the next time is soon enough
            # What the collector answers, the exporter logs itself.
            log.warning("metrics_not_exported", error=type(error).__name__)

    def _collect(self) -> MetricsData:
        found = list(convert(self._registry.collect(), time.time_ns()))
        scope = ScopeMetrics(SCOPE, found, schema_url="")
        resource = ResourceMetrics(self._resource, [scope], schema_url="")
        return MetricsData([resource])


def convert(families: Iterable[Family], now: int) -> Iterator[Metric]:
    """Convert metrics of Prometheus to those of OpenTelemetry.

    Args:
        families: what a registry collects.
        now: nanoseconds since the epoch.

    Source: OpenTelemetry Specification, "Prometheus and OpenMetrics Compatibility".
    """
    for family in families:
        created = f"{family.name}_created"
        samples = [each for each in family.samples if each.name != created]
        starts = {
            _key(each): round(each.value * 1e9) for each in family.samples if each.name == created
        }
        if family.type == "histogram":
            data = Histogram(list(_histograms(family, starts, now)), _CUMULATIVE)
            if data.data_points:
                yield Metric(family.name, family.documentation, family.unit, data)
            continue
        for name in dict.fromkeys(each.name for each in samples):  # a summary has two
            points = [_number(each, starts, now) for each in samples if each.name == name]
            is_sum = family.type == "counter"
            yield Metric(
                name,
                family.documentation,
                family.unit,
                Sum(points, _CUMULATIVE, is_monotonic=True) if is_sum else Gauge(points),
            )


def _number(sample: Sample, starts: dict[Any, int], now: int) -> NumberDataPoint:
    return NumberDataPoint(
        attributes=dict(sample.labels),
        start_time_unix_nano=starts.get(_key(sample), STARTED),
        time_unix_nano=now,
        value=sample.value,
        exemplars=_exemplars([sample]),
    )


def _histograms(family: Family, starts: dict[Any, int], now: int) -> Iterator[HistogramDataPoint]:
    by_labels: dict[Any, list[Sample]] = {}
    for sample in family.samples:
        by_labels.setdefault(_key(sample), []).append(sample)
    for key, samples in by_labels.items():
        buckets = [each for each in samples if each.name == f"{family.name}_bucket"]
        total = next((each.value for each in samples if each.name == f"{family.name}_sum"), None)
        cumulative = [int(each.value) for each in buckets]
        if not cumulative:
            continue
        yield HistogramDataPoint(
            attributes=dict(key),
            start_time_unix_nano=starts.get(key, STARTED),
            time_unix_nano=now,
            count=cumulative[-1],
            sum=total,  # type: ignore[arg-type] # unknown where a bucket is of negative values
            bucket_counts=[
                upper - lower for lower, upper in zip([0, *cumulative], cumulative, strict=False)
            ],
            explicit_bounds=[float(each.labels["le"]) for each in buckets[:-1]],
            min=None,  # type: ignore[arg-type] # Prometheus does not know them; the protocol allows it
            max=None,  # type: ignore[arg-type]
            exemplars=_exemplars(buckets),
        )


def _exemplars(samples: Iterable[Sample]) -> list[Exemplar]:
    found = []
    for sample in samples:
        exemplar = sample.exemplar
        if exemplar is not None and "trace_id" in exemplar.labels:
            found.append(
                Exemplar(
                    filtered_attributes={},
                    value=exemplar.value,
                    time_unix_nano=round(float(exemplar.timestamp or 0.0) * 1e9),
                    span_id=int(exemplar.labels.get("span_id", "0"), 16),
                    trace_id=int(exemplar.labels["trace_id"], 16),
                )
            )
    return found


def _key(sample: Sample) -> tuple[tuple[str, str], ...]:
    """Return the labels without that of the bucket, as something that can be looked up."""
    return tuple(sorted((name, value) for name, value in sample.labels.items() if name != "le"))


__all__ = ["RegistryExport", "convert"]
