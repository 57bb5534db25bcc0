"""The OpenTelemetry providers of a process, installed once.

OpenTelemetry has one tracer provider and one meter provider a process, and neither can be replaced.
But applications start and stop: tests make many in one process. So the providers stay, and what
they pass spans and metrics on to is that of the application that runs.
"""

from typing import Any, Final

from opentelemetry import metrics, trace
from opentelemetry.context import Context
from opentelemetry.metrics._internal import _ProxyMeterProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    MetricExporter,
    MetricExportResult,
    MetricsData,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, Sampler

from service_platform.telemetry.sampling import DecidedSampler, RequestIdGenerator


class _Switch(SpanProcessor):
    """Passes spans on to the processor of the application that runs."""

    def __init__(self) -> None:
        self.target: SpanProcessor | None = None

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        if self.target is not None:
            self.target.on_start(span, parent_context)

    def on_end(self, span: ReadableSpan) -> None:
        if self.target is not None:
            self.target.on_end(span)


class _MetricsSwitch(MetricExporter):
    """Passes OpenTelemetry's own metrics on to the exporter of the application that runs."""

    def __init__(self, preferences: MetricExporter) -> None:
        super().__init__(preferences._preferred_temporality, preferences._preferred_aggregation)  # noqa: SLF001
        self.target: MetricExporter | None = None

    def export(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **_: object
    ) -> MetricExportResult:
        if self.target is None:
            return MetricExportResult.SUCCESS
        return self.target.export(metrics_data, timeout_millis)

    def force_flush(self, timeout_millis: float = 10_000) -> bool:  # noqa: ARG002
        return True

    def shutdown(self, timeout_millis: float = 30_000, **_: object) -> None:  # noqa: ARG002
        self.target = None


class ProcessMetrics:
    """The meter provider of this process: what libraries and the service measure by themselves."""

    def __init__(self) -> None:
        self._switch: _MetricsSwitch | None = None
        self._reader: PeriodicExportingMetricReader | None = None

    def export_to(
        self, exporter: MetricExporter, resource: Resource, *, interval_seconds: float
    ) -> None:
        """Have those metrics exported, by a provider of the service where it has one."""
        if self._switch is None:
            self._switch = _MetricsSwitch(exporter)
            reader = PeriodicExportingMetricReader(
                self._switch, export_interval_millis=interval_seconds * 1000
            )
            self._install(reader, resource)
        self._switch.target = exporter

    def _install(self, reader: PeriodicExportingMetricReader, resource: Resource) -> None:
        self._reader = reader
        if isinstance(metrics.get_meter_provider(), _ProxyMeterProvider):
            metrics.set_meter_provider(MeterProvider(resource=resource, shutdown_on_exit=False))
        provider: Any = metrics.get_meter_provider()
        if hasattr(provider, "add_metric_reader"):
            provider.add_metric_reader(reader)

    def stop(self, exporter: MetricExporter | None) -> None:
        """Export what was measured, and stop, unless another application has begun to export."""
        if self._reader is None or self._switch is None or self._switch.target is not exporter:
            return
        self._reader.force_flush()
        if self._switch.target is exporter:
            self._switch.target = None


class ProcessTracing:
    """The tracer provider of this process."""

    def __init__(self) -> None:
        self.sampler = DecidedSampler(ALWAYS_OFF)
        self._switch = _Switch()
        self._provider: TracerProvider | None = None

    def export_to(self, processor: SpanProcessor, sampler: Sampler, resource: Resource) -> bool:
        """Pass ended spans on to a processor, from the platform's provider or the service's own.

        Returns:
            False where the service has a provider of its own, whose sampler and ids then count.
        """
        if self._install(resource):
            self.sampler.use(sampler)
            self._switch.target = processor
            return True
        provider: Any = trace.get_tracer_provider()
        if hasattr(provider, "add_span_processor"):
            provider.add_span_processor(processor)
        return False

    def stop(self, processor: SpanProcessor) -> None:
        """Sample and pass on nothing any more, unless another application has begun to."""
        if self._switch.target is processor:
            self.sampler.use(ALWAYS_OFF)
            self._switch.target = None

    def _install(self, resource: Resource) -> bool:
        if self._provider is None:
            self._provider = TracerProvider(
                sampler=self.sampler,
                resource=resource,
                shutdown_on_exit=False,
                id_generator=RequestIdGenerator(),
            )
            self._provider.add_span_processor(self._switch)
            if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
                trace.set_tracer_provider(self._provider)
        return trace.get_tracer_provider() is self._provider


process_tracing: Final = ProcessTracing()
process_metrics: Final = ProcessMetrics()

__all__ = ["process_metrics", "process_tracing"]
