"""How FastAPI's own telemetry is set up where the platform exports."""

from collections.abc import Callable, MutableMapping
from typing import Any

from fastapi.telemetry import TelemetryConfig

from service_platform.telemetry.exceptions import ExceptionEvents
from service_platform.telemetry.request_tracing import is_excluded


def telemetry_config(own: TelemetryConfig | None) -> TelemetryConfig:
    """Return FastAPI's telemetry options: a service's own, and the platform's for the rest.

    Requests that are not recorded are excluded. Metrics are those of `/metrics`, so that nothing is
    measured twice. FastAPI does not configure the export, because the platform has.
    """
    conventions: TelemetryConfig = {
        "metrics": False,
        "logger_provider": ExceptionEvents(),
        "auto_configure": False,
    }
    config: TelemetryConfig = {**conventions, **(own or {})}
    config["exclude"] = _either(config.get("exclude"))
    return config


def _either(
    own: Callable[[MutableMapping[str, Any]], bool] | None,
) -> Callable[[MutableMapping[str, Any]], bool]:
    if own is None:
        return is_excluded
    return lambda scope: is_excluded(scope) or own(scope)


__all__ = ["telemetry_config"]
