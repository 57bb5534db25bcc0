"""Traces, and metrics over OTLP, by OpenTelemetry.

FastAPI's own telemetry makes the spans of requests. This package decides which requests are
recorded (`request_tracing.py`), adds the spans of what a request waits for (`database_spans.py`,
`redis_spans.py`, `rate_limit_spans.py`, `messaging_spans.py`), and exports (`export.py`, which with
`providers.py`, `sampling.py`, `span_export.py` and `registry_export.py` needs the SDK).
"""

from service_platform.telemetry.tracing import span

__all__ = ["span"]
