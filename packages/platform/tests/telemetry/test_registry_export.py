"""What a collector gets is what `/metrics` says."""

import math
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import export as otel
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Metric,
    MetricExporter,
    MetricExportResult,
    MetricsData,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    Summary,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from service_platform.telemetry.registry_export import STARTED, RegistryExport, convert
from service_testing.collector import Collector

NOW = STARTED + 10**9
TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN_ID = "00f067aa0ba902b7"


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def converted(registry: CollectorRegistry) -> dict[str, Metric]:
    found = list(convert(registry.collect(), NOW))
    by_name = {metric.name: metric for metric in found}
    assert len(by_name) == len(found)
    return by_name


def test_a_counter_is_a_sum_that_only_rises(registry: CollectorRegistry) -> None:
    counter = Counter("jobs", "Jobs done.", ("kind",), registry=registry)
    counter.labels("a").inc(2)
    counter.labels("b").inc(0.5)
    metric = converted(registry)["jobs_total"]
    assert metric.description == "Jobs done."
    assert isinstance(metric.data, Sum)
    assert metric.data.is_monotonic
    assert metric.data.aggregation_temporality is AggregationTemporality.CUMULATIVE
    points = {point.attributes["kind"]: point for point in metric.data.data_points}  # type: ignore[index]
    assert {kind: point.value for kind, point in points.items()} == {"a": 2, "b": 0.5}
    assert {(point.start_time_unix_nano, point.time_unix_nano) for point in points.values()} == {
        (STARTED, NOW)
    }


def test_what_a_metric_says_of_its_beginning_is_told() -> None:
    counter = CounterMetricFamily("jobs", "Jobs done.", value=2, created=1_700_000_000.5)
    histogram = HistogramMetricFamily("seconds", "Time.", [("1", 0), ("+Inf", 0)], sum_value=0)
    histogram.add_sample("seconds_created", {}, 1_700_000_001)
    points = [metric.data.data_points[0] for metric in convert([counter, histogram], NOW)]
    assert [point.start_time_unix_nano for point in points] == [
        1_700_000_000_500_000_000,
        1_700_000_001_000_000_000,
    ]


def test_a_gauge_goes_up_and_down(registry: CollectorRegistry) -> None:
    Gauge("depth", "Of a queue.", registry=registry).set(-3.5)
    Gauge("accounts_created", "By this process.", registry=registry).set(7)
    metrics = converted(registry)
    assert isinstance(metrics["depth"].data, otel.Gauge)
    assert [point.value for point in metrics["depth"].data.data_points] == [-3.5]
    assert [point.value for point in metrics["accounts_created"].data.data_points] == [7]  # type: ignore[union-attr]


def test_what_opentelemetry_does_not_know_is_gauges_of_the_same_names(
    registry: CollectorRegistry,
) -> None:
    Info("build", "What runs.", registry=registry).info({"version": "1"})
    Summary("size", "Of bodies.", registry=registry).observe(3)
    metrics = converted(registry)
    assert metrics.keys() == {"build_info", "size_count", "size_sum"}
    values: dict[str, Any] = {
        name: [(point.attributes, point.value) for point in metric.data.data_points]  # type: ignore[union-attr]
        for name, metric in metrics.items()
    }
    assert values == {
        "build_info": [({"version": "1"}, 1)],
        "size_count": [({}, 1)],
        "size_sum": [({}, 3)],
    }


def test_a_metric_without_a_value_is_left_out(registry: CollectorRegistry) -> None:
    Counter("jobs", "Jobs done.", ("kind",), registry=registry)
    Histogram("seconds", "Time.", ("kind",), registry=registry)
    Gauge("depth", "Of a queue.", ("kind",), registry=registry)
    assert converted(registry) == {}


def test_exemplars_lead_to_their_traces(registry: CollectorRegistry) -> None:
    labels = {"trace_id": TRACE_ID, "span_id": SPAN_ID}
    histogram = Histogram("seconds", "Time.", buckets=(1, 5), registry=registry)
    histogram.observe(3, exemplar=labels)
    histogram.observe(0.5, exemplar={"order": "7"})
    Counter("jobs", "Jobs done.", registry=registry).inc(2, exemplar={"trace_id": TRACE_ID})
    metrics = converted(registry)
    for name, value, span_id in (("seconds", 3, SPAN_ID), ("jobs_total", 2, "0" * 16)):
        (point,) = metrics[name].data.data_points
        (exemplar,) = point.exemplars
        assert exemplar.value == value
        assert f"{exemplar.trace_id:032x}" == TRACE_ID
        assert f"{exemplar.span_id:016x}" == span_id
        assert exemplar.time_unix_nano >= STARTED


BOUNDS = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=6, unique=True).map(sorted)
VALUES = st.lists(st.floats(-2e6, 2e6), max_size=30)


@given(BOUNDS, st.dictionaries(st.sampled_from(["a", "b"]), VALUES, min_size=1))
def test_the_buckets_of_a_histogram_add_up(
    bounds: list[float], observed: dict[str, list[float]]
) -> None:
    registry = CollectorRegistry()
    histogram = Histogram("seconds", "Time.", ("kind",), buckets=bounds, registry=registry)
    for kind, values in observed.items():
        for value in values:
            histogram.labels(kind).observe(value)
        histogram.labels(kind)
    data = converted(registry)["seconds"].data
    assert isinstance(data, otel.Histogram)
    assert len(data.data_points) == len(observed)
    for point in data.data_points:
        values = observed[str((point.attributes or {})["kind"])]
        assert list(point.explicit_bounds) == bounds
        assert len(point.bucket_counts) == len(bounds) + 1
        assert min(point.bucket_counts) >= 0
        assert sum(point.bucket_counts) == point.count == len(values)
        assert point.bucket_counts[0] == sum(value <= bounds[0] for value in values)
        assert point.bucket_counts[-1] == sum(value > bounds[-1] for value in values)
        if bounds[0] < 0:
            assert point.sum is None
        else:
            assert math.isclose(point.sum, sum(values), abs_tol=1e-3)


def _of_text(page: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every value of a page, by name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def _of_collector(metrics: dict[str, Any]) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    found = {}
    for name, metric in metrics.items():
        kind = metric.WhichOneof("data")
        for point in getattr(metric, kind).data_points:
            labels = {each.key: each.value.string_value for each in point.attributes}
            if kind != "histogram":
                found[name, frozenset(labels.items())] = point.as_double
                continue
            found[f"{name}_count", frozenset(labels.items())] = point.count
            found[f"{name}_sum", frozenset(labels.items())] = point.sum
            assert point.count == sum(point.bucket_counts)
            below = 0
            bounds = [*map(str, point.explicit_bounds), "+Inf"]
            for bound, count in zip(bounds, point.bucket_counts, strict=True):
                below += count
                found[f"{name}_bucket", frozenset({**labels, "le": bound}.items())] = below
    return found


def test_a_collector_gets_what_the_page_says(
    registry: CollectorRegistry, collector: Collector
) -> None:
    Counter("jobs", "Jobs done.", ("kind",), registry=registry).labels("a").inc(2)
    Gauge("depth", "Of a queue.", registry=registry).set(-3.5)
    histogram = Histogram("seconds", "Time.", ("kind",), buckets=(1, 5), registry=registry)
    for kind, value in (("a", 0.5), ("a", 3), ("b", 7)):
        histogram.labels(kind).observe(value)
    exporter = OTLPMetricExporter(endpoint=f"{collector.url}/v1/metrics")
    export = RegistryExport(exporter, Resource.get_empty(), registry=registry)
    export.start()
    export.shutdown()
    page = generate_latest(registry).decode()
    assert _of_collector(collector.metrics) == _of_text(page)
    assert len(_of_text(page)) == 12


class Exporter(MetricExporter):
    """Fails as often as it is told to; notes how often it was asked."""

    def __init__(self, failures: int = 0) -> None:
        super().__init__()
        self.failures = failures
        self.exported: list[MetricsData] = []
        self.ended = 0
        self.called = threading.Event()

    def export(self, metrics_data: MetricsData, *_: Any, **__: Any) -> MetricExportResult:
        if self.failures:
            self.failures -= 1
            raise OSError("no such certificate")
        self.exported.append(metrics_data)
        if len(self.exported) > 2:
            self.called.set()
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 0) -> bool:
        return True

    def shutdown(self, timeout_millis: float = 0, **_: Any) -> None:
        self.ended += 1


End = Callable[[RegistryExport], None]


def test_metrics_are_exported_again_and_again_and_once_more_at_the_end(
    registry: CollectorRegistry,
) -> None:
    exporter = Exporter()
    export = RegistryExport(
        exporter, Resource({"a": "b"}), interval_seconds=0.001, registry=registry
    )
    export.start()
    assert exporter.called.wait(20)
    Gauge("last", "Set just before.", registry=registry).set(1)
    export.shutdown()
    (resource,) = exporter.exported[-1].resource_metrics
    assert resource.resource.attributes == {"a": "b"}
    assert [metric.name for metric in resource.scope_metrics[0].metrics] == ["last"]
    assert exporter.ended == 1


def test_an_exporter_that_raises_does_not_end_the_export(registry: CollectorRegistry) -> None:
    exporter = Exporter(failures=2)
    with capture_logs() as lines:
        export = RegistryExport(
            exporter, Resource.get_empty(), interval_seconds=0.001, registry=registry
        )
        export.start()
        assert exporter.called.wait(20)
        export.shutdown()
    assert [(line["event"], line["error"]) for line in lines] == [
        ("metrics_not_exported", "OSError")
    ] * 2


def test_aborting_does_not_wait(registry: CollectorRegistry) -> None:
    exporter = Exporter()
    export = RegistryExport(exporter, Resource.get_empty(), registry=registry)
    export.start()
    export.abort()
    assert exporter.ended == 1
    export._thread.join()
