"""Settings of logs, metrics and traces."""

import os
from importlib.util import find_spec
from typing import Final, Literal

from pydantic import Field, field_validator

from service_platform.settings.service import ServiceSettings
from service_platform.settings.value_types import LogLevel

EXPORTER: Final = "opentelemetry.exporter.otlp.proto.http"
ENDPOINTS: Final = (
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
    "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT",
)


class TelemetrySettings(ServiceSettings):
    """What a process tells about itself."""

    log_level: LogLevel = Field("INFO", description="DEBUG, INFO, WARNING, ERROR or CRITICAL.")
    log_format: Literal["auto", "json", "console"] = Field(
        "auto", description="auto: console on a terminal, JSON lines elsewhere."
    )
    log_queue_size: int = Field(
        10_000, ge=100, le=1_000_000, description="Lines held for a slow reader; more are dropped."
    )
    otel_enabled: bool = Field(
        False,
        description="Export traces, metrics, logs to OTEL_EXPORTER_OTLP_ENDPOINT (extra `otel`).",
    )

    @field_validator("otel_enabled", mode="after")
    @classmethod
    def _can_export(cls, value: bool) -> bool:
        if value and not _is_installed(EXPORTER):
            raise ValueError("is true, so install the extra: service-platform[otel]")
        if value and not any(os.environ.get(name) for name in ENDPOINTS):
            raise ValueError(
                "is true, so set OTEL_EXPORTER_OTLP_ENDPOINT, such as http://collector:4318"
            )
        return value


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False
