"""Passes a trace on to other services and into events (W3C Trace Context)."""

from typing import Final

from opentelemetry import propagate, trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from service_platform.context import RequestContext

_w3c: Final = TraceContextTextMapPropagator()


def trace_headers(context: RequestContext | None) -> dict[str, str]:
    """Return the headers that continue this trace in a service that is called.

    Those of the current span by the propagators of `OTEL_PROPAGATORS`, recorded or not; without a
    span, what the caller of this request has sent.

    Args:
        context: of the request in flight.
    """
    if not trace.get_current_span().get_span_context().is_valid:
        return _of_request(context)
    headers: dict[str, str] = {}
    propagate.inject(headers)
    return headers


def trace_attributes(context: RequestContext | None) -> dict[str, str]:
    """Return the attributes that continue this trace in an event.

    Source: CloudEvents, "Distributed Tracing extension", which has the two headers of W3C Trace
    Context whatever `OTEL_PROPAGATORS` says.
    """
    if not trace.get_current_span().get_span_context().is_valid:
        return _of_request(context)
    attributes: dict[str, str] = {}
    _w3c.inject(attributes)
    return attributes


def _of_request(context: RequestContext | None) -> dict[str, str]:
    if context is None:
        return {}
    headers = {"traceparent": context.traceparent}
    if context.tracestate:
        headers["tracestate"] = context.tracestate
    return headers


__all__ = ["trace_attributes", "trace_headers"]
