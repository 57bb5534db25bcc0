"""Exports traces and metrics over OTLP while the application runs."""

import asyncio
import contextlib
import os
import re
import threading
import uuid
from types import TracebackType
from typing import Any, Final

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource

from service_platform.logging import get_logger
from service_platform.settings import PlatformSettings
from service_platform.settings.otel_variables import (
    endpoint_of,
    otel_environment,
    read_otel_variables,
)
from service_platform.telemetry.providers import process_metrics, process_tracing
from service_platform.telemetry.registry_export import DEFAULT_INTERVAL_SECONDS, RegistryExport
from service_platform.telemetry.request_tracing import RequestTracing
from service_platform.telemetry.sampling import sampler_of
from service_platform.telemetry.span_export import (
    DEFAULT_BATCH_SIZE,
    DEFAULT_DELAY_SECONDS,
    SpanQueue,
)

FLUSH_SECONDS: Final = 3.0
"""What the end of the process waits for a collector."""
DEFAULT_QUEUE_SIZE: Final = 2_048
"""OpenTelemetry's own default of `OTEL_BSP_MAX_QUEUE_SIZE`."""

log = get_logger("service_platform.telemetry")


class TelemetryExport:
    """Exports while it is entered: `async with TelemetryExport(settings)`.

    Args:
        settings: name, version and environment of the service; the rest is in OpenTelemetry's
            standard variables.

    Attributes:
        tracing: decides about requests; `None` while nothing is exported, and where the service has
            installed a tracer provider of its own.
    """

    def __init__(self, settings: PlatformSettings) -> None:
        self._settings = settings
        self._variables = read_otel_variables(settings.secrets_dir)
        self._spans: SpanQueue | None = None
        self._metrics: RegistryExport | None = None
        self._own_metrics: OTLPMetricExporter | None = None
        self.tracing: RequestTracing | None = None

    async def __aenter__(self) -> "TelemetryExport":
        """Begin to export."""
        with otel_environment(self._variables):
            resource = self._resource()
            if endpoint_of("TRACES", self._variables) is not None:
                self._start_traces(resource)
            if endpoint_of("METRICS", self._variables) is not None:
                self._start_metrics(resource)
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        """Export what waits, within a budget, and end."""
        self.tracing = None
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()

        def end() -> None:
            self._shut_down()
            with contextlib.suppress(RuntimeError):  # nobody waits any more
                loop.call_soon_threadsafe(ended.set)

        # A daemon, because a collector that does not answer must not keep the process.
        threading.Thread(target=end, name="telemetry shutdown", daemon=True).start()
        try:
            async with asyncio.timeout(FLUSH_SECONDS):
                await ended.wait()
        except TimeoutError:
            self._give_up()

    def _resource(self) -> Resource:
        """Describe this process; what the standard variables say wins."""
        own: dict[str, Any] = {
            "service.name": self._settings.project_name,
            "service.version": self._settings.version,
            "service.instance.id": str(uuid.uuid4()),
            "deployment.environment.name": self._settings.environment.value,
            "process.pid": os.getpid(),
        }
        return Resource.create({**own, **OTELResourceDetector().detect().attributes})

    def _start_traces(self, resource: Resource) -> None:
        self._spans = SpanQueue(
            OTLPSpanExporter(),
            self._whole("OTEL_BSP_MAX_QUEUE_SIZE", DEFAULT_QUEUE_SIZE),
            batch_size=self._whole("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", DEFAULT_BATCH_SIZE),
            delay_seconds=self._seconds("OTEL_BSP_SCHEDULE_DELAY", DEFAULT_DELAY_SECONDS),
        )
        if process_tracing.export_to(self._spans, sampler_of(self._variables), resource):
            self.tracing = RequestTracing(process_tracing.sampler)

    def _start_metrics(self, resource: Resource) -> None:
        interval = self._seconds("OTEL_METRIC_EXPORT_INTERVAL", DEFAULT_INTERVAL_SECONDS)
        self._metrics = RegistryExport(OTLPMetricExporter(), resource, interval_seconds=interval)
        self._metrics.start()
        self._own_metrics = OTLPMetricExporter()
        process_metrics.export_to(self._own_metrics, resource, interval_seconds=interval)

    def _whole(self, name: str, default: int) -> int:
        """Return a number of at least 1; of another the default, as the specification wants."""
        value = self._variables.get(name, "").strip()
        return int(value) if re.fullmatch("0*[1-9][0-9]{0,8}", value) else default

    def _seconds(self, name: str, default: float) -> float:
        """Return a time that the variable has in milliseconds."""
        return self._whole(name, round(default * 1000)) / 1000

    def _shut_down(self) -> None:
        """Export what waits; waits for the collector."""
        if self._spans is not None:
            self._spans.shutdown()
            process_tracing.stop(self._spans)
        if self._metrics is not None:
            self._metrics.shutdown()
            process_metrics.stop(self._own_metrics)

    def _give_up(self) -> None:
        """Leave behind what a collector that is slow or away has not taken."""
        if self._spans is not None:
            lost = self._spans.give_up()
            log.warning("telemetry_not_flushed", spans=lost, seconds=FLUSH_SECONDS)
        if self._metrics is not None:
            self._metrics.abort()


__all__ = ["TelemetryExport"]
