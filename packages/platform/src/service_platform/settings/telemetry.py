"""Settings of logs, metrics and traces."""

from typing import Final, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from service_platform.settings.otel_variables import (
    ENDPOINT,
    SIGNALS,
    OtelVariableError,
    endpoint_of,
    is_sdk_disabled,
    read_otel_variables,
    require_exportable,
)
from service_platform.settings.service import ServiceSettings
from service_platform.settings.value_types import LogLevel

STANDARD_VARIABLE: Final = "standard_variable"
"""Type of an error whose message names the variable itself, because it is none of ours."""


class TelemetrySettings(ServiceSettings):
    """What a process tells about itself."""

    log_level: LogLevel = Field("INFO", description="DEBUG, INFO, WARNING, ERROR or CRITICAL.")
    log_format: Literal["auto", "json", "console"] = Field(
        "auto", description="auto: console on a terminal, JSON lines elsewhere."
    )
    log_queue_size: int = Field(
        10_000, ge=100, le=1_000_000, description="Lines held for a slow reader; more are dropped."
    )
    otel_enabled: bool | None = Field(
        None,
        description="Export traces and metrics; by default where OTEL_EXPORTER_OTLP_ENDPOINT is "
        "set (docs/telemetry.md).",
    )

    @field_validator("otel_enabled", mode="after")
    @classmethod
    def _can_export(cls, value: bool | None, info: ValidationInfo) -> bool:
        """Decide whether to export; refuse what was asked for and is impossible."""
        if value is False or "secrets_dir" not in info.data:
            return False
        variables = read_otel_variables(info.data["secrets_dir"])
        if is_sdk_disabled(variables):
            return False
        if not any(endpoint_of(signal, variables) for signal in SIGNALS):
            if value:
                raise ValueError(f"is true, so set {ENDPOINT}, such as http://collector:4318")
            return False
        try:
            require_exportable(variables)
        except OtelVariableError as error:
            raise PydanticCustomError(STANDARD_VARIABLE, "{told}", {"told": str(error)}) from None
        return True
