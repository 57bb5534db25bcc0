"""How FastAPI's own telemetry is set up where the platform exports."""

from collections.abc import MutableMapping
from typing import Any

from fastapi.telemetry import TelemetryConfig

from service_platform.telemetry.exceptions import ExceptionEvents
from service_platform.telemetry.operation_spans import OperationTracerProvider
from service_platform.telemetry.request_tracing import is_excluded, record_no_more


def telemetry_config(own: TelemetryConfig | None) -> TelemetryConfig:
    """Return FastAPI's telemetry options: a service's own, and the platform's for the rest.

    Requests that are not recorded are excluded; what the service excludes is not recorded. Metrics
    are those of `/metrics`, so that nothing is measured twice. FastAPI does not configure the
    export, because the platform has.
    """
    conventions: TelemetryConfig = {
        "metrics": False,
        "logger_provider": ExceptionEvents(),
        "tracer_provider": OperationTracerProvider(),
    }
    config: TelemetryConfig = {**conventions, **(own or {}), "auto_configure": False}
    own_exclude, has_spans = config.get("exclude"), config.get("tracing", True)

    def exclude(scope: MutableMapping[str, Any]) -> bool:
        if is_excluded(scope):
            return True
        excluded = own_exclude is not None and own_exclude(scope)
        if excluded or not has_spans:
            record_no_more(scope)
        return excluded

    config["exclude"] = exclude
    return config


__all__ = ["telemetry_config"]
