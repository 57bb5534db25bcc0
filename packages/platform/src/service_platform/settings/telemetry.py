"""Settings of logs, metrics and traces."""

from typing import Literal

from pydantic import Field

from service_platform.settings.service import ServiceSettings
from service_platform.settings.value_types import LogLevel


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
        description="Export OpenTelemetry traces and metrics (the `otel` extra; OTEL_* variables).",
    )
