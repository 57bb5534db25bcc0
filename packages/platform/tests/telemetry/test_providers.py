"""A process has its providers for ever; what they pass on goes to the application that runs."""

from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import metrics, trace
from opentelemetry.metrics import _internal as otel_metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    MetricExporter,
    MetricExportResult,
    MetricsData,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON

from service_platform.telemetry.providers import ProcessMetrics, ProcessTracing

EMPTY = Resource.get_empty()


class Spans(SpanProcessor):
    """Keeps the names of spans."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def on_end(self, span: ReadableSpan) -> None:
        self.names.append(span.name)


class Exporter(MetricExporter):
    """Keeps the names of metrics."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def export(self, metrics_data: MetricsData, *_: Any, **__: Any) -> MetricExportResult:
        self.names += [
            metric.name
            for resource in metrics_data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        ]
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 0) -> bool:
        return True

    def shutdown(self, timeout_millis: float = 0, **_: Any) -> None:
        pass


@pytest.fixture(autouse=True)
def _no_providers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process in which nobody has installed any."""
    for module, name in ((trace, "_TRACER_PROVIDER"), (otel_metrics, "_METER_PROVIDER")):
        monkeypatch.setattr(module, name, None)
        once = f"{name}_SET_ONCE"
        monkeypatch.setattr(module, once, type(getattr(module, once))())
    yield
    provider: Any = metrics.get_meter_provider()
    if isinstance(provider, MeterProvider):
        provider.shutdown()


def end_span(name: str) -> None:
    trace.get_tracer_provider().get_tracer("test").start_span(name).end()


def test_spans_go_to_the_application_that_runs() -> None:
    tracing, first, second = ProcessTracing(), Spans(), Spans()
    assert tracing.export_to(first, ALWAYS_ON, EMPTY)
    end_span("a")
    assert tracing.export_to(second, ALWAYS_ON, EMPTY)
    end_span("b")
    tracing.stop(first)  # it took its time to end
    end_span("c")
    tracing.stop(second)
    end_span("d")
    assert (first.names, second.names) == (["a"], ["b", "c"])


def test_the_sampler_is_that_of_the_application() -> None:
    tracing, spans = ProcessTracing(), Spans()
    tracing.export_to(spans, ALWAYS_OFF, EMPTY)
    end_span("a")
    tracing.export_to(spans, ALWAYS_ON, EMPTY)
    end_span("b")
    assert spans.names == ["b"]


def test_a_provider_of_the_service_stays_and_gets_the_processor() -> None:
    own, spans, of_service = TracerProvider(shutdown_on_exit=False), Spans(), Spans()
    own.add_span_processor(of_service)
    trace.set_tracer_provider(own)
    assert not ProcessTracing().export_to(spans, ALWAYS_OFF, EMPTY)
    assert trace.get_tracer_provider() is own
    end_span("a")
    assert spans.names == of_service.names == ["a"]


def test_a_provider_that_takes_no_processor_is_left_alone() -> None:
    trace.set_tracer_provider(trace.NoOpTracerProvider())
    assert not ProcessTracing().export_to(Spans(), ALWAYS_ON, EMPTY)


def test_metrics_go_to_the_application_that_runs() -> None:
    own, first, second = ProcessMetrics(), Exporter(), Exporter()
    own.export_to(first, EMPTY, interval_seconds=3600)
    counter = metrics.get_meter("test").create_counter("orders")
    counter.add(1)
    own.stop(first)
    assert first.names == ["orders"]
    own.export_to(second, EMPTY, interval_seconds=3600)
    own.stop(first)  # it took its time to end
    own.stop(second)
    own.stop(second)
    assert (first.names, second.names) == (["orders"], ["orders"])


def test_metrics_of_a_service_that_has_a_provider_are_exported_too() -> None:
    provider, exporter = MeterProvider(shutdown_on_exit=False), Exporter()
    metrics.set_meter_provider(provider)
    own = ProcessMetrics()
    own.export_to(exporter, EMPTY, interval_seconds=3600)
    assert metrics.get_meter_provider() is provider
    metrics.get_meter("test").create_counter("orders").add(1)
    own.stop(exporter)
    assert exporter.names == ["orders"]


def test_metrics_that_nobody_exports_are_no_mistake() -> None:
    ProcessMetrics().stop(None)
