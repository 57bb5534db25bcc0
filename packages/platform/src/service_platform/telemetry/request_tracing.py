"""Decides whether a request is recorded before anything is done for it.

FastAPI asks the sampler when it starts the server span, and does the work of a span also for what
is not sampled. Here the sampler is asked first. A request that is not recorded goes on without
FastAPI's telemetry, with ids that are passed on; a recorded one gets its span from FastAPI, with
the trace id and the decision made here (`sampling.py`).
"""

import random
from contextvars import Token
from typing import Any, Final, Protocol

from opentelemetry import context as otel_context
from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.propagators.textmap import Getter
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    TraceFlags,
    format_span_id,
    format_trace_id,
)

from service_platform.context import SCOPE_KEY, RequestContext
from service_platform.middleware.access_log import QUIET_PATHS


class Sampler(Protocol):
    """What is used of OpenTelemetry's `Sampler`."""

    def should_sample(
        self, parent_context: Context | None, trace_id: int, name: str, kind: SpanKind | None = None
    ) -> Any:
        """Return a result with `decision` and `trace_state`."""


class RequestTracing:
    """Begins the trace of each request.

    Args:
        sampler: decides by trace id and parent.
    """

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler
        fields = propagate.get_global_textmap().fields
        self._fields = frozenset(name.lower().encode("latin-1") for name in fields)

    def begin(self, context: RequestContext) -> Token[Context] | None:
        """Decide about a request.

        Returns:
            What `end` needs: the request is not recorded, and spans that its code makes are not
            either. `None` where FastAPI makes the server span.
        """
        parent = self._extract(context.headers)
        parent_span = trace.get_current_span(parent).get_span_context()
        if parent_span.is_valid:
            trace_id = parent_span.trace_id
            flags, state = parent_span.trace_flags, parent_span.trace_state
        else:
            trace_id = random.getrandbits(128) or 1
            flags, state = TraceFlags(TraceFlags.DEFAULT), None
        context.trace_id = format_trace_id(trace_id)
        if context.path not in QUIET_PATHS:
            result = self._sampler.should_sample(
                parent, trace_id, context.scope.get("method", "WS"), SpanKind.SERVER
            )
            if result.decision.is_recording():
                context.is_recorded = True
                context.sampling = result
                context.trace_flags = "01" if result.decision.is_sampled() else "00"
                return None
            flags = TraceFlags(flags & ~TraceFlags.SAMPLED)
        # The caller's span, or one that does not exist but ties together what is logged.
        span_id = parent_span.span_id if parent_span.is_valid else int(context.span_id, 16)
        context.trace_flags = f"{flags:02x}"
        context.is_recorded = False
        not_recorded = NonRecordingSpan(
            SpanContext(trace_id, span_id, is_remote=True, trace_flags=flags, trace_state=state)
        )
        return otel_context.attach(trace.set_span_in_context(not_recorded, parent))

    def end(self, token: Token[Context]) -> None:
        """Leave the trace of a request that is not recorded."""
        otel_context.detach(token)

    def _extract(self, headers: dict[bytes, bytes]) -> Context:
        """Return the caller's trace and baggage, of the propagators in `OTEL_PROPAGATORS`."""
        if self._fields.isdisjoint(headers):
            return Context()
        return propagate.extract(headers, Context(), getter=_headers)


class _Headers(Getter[dict[bytes, bytes]]):
    """Finds headers however a propagator writes their names."""

    def get(self, carrier: dict[bytes, bytes], key: str) -> list[str] | None:
        value = carrier.get(key.lower().encode("latin-1"))
        return None if value is None else [value.decode("latin-1")]

    def keys(self, carrier: dict[bytes, bytes]) -> list[str]:
        return [name.decode("latin-1") for name in carrier]


_headers: Final = _Headers()


def is_excluded(scope: Any) -> bool:
    """Return whether FastAPI's telemetry leaves a request alone (its option `exclude`)."""
    context: RequestContext | None = scope.get(SCOPE_KEY)
    if context is None or context.is_recorded:
        return False
    return context.is_recorded is False or context.path in QUIET_PATHS


def record_no_more(scope: Any) -> None:
    """Take back that a request is recorded: it gets no server span."""
    context: RequestContext | None = scope.get(SCOPE_KEY)
    if context is not None:
        context.is_recorded = False
        context.sampling = None
        context.trace_flags = "00"


def take_over_span(context: RequestContext, span: Span) -> None:
    """Give the request the ids of its server span, and the span what is known of the request."""
    of_span = span.get_span_context()
    context.trace_id = format_trace_id(of_span.trace_id)
    context.span_id = format_span_id(of_span.span_id)
    context.trace_flags = f"{of_span.trace_flags:02x}"
    context.is_recorded = True
    span.set_attribute("http.response.header.x-request-id", [context.request_id])
    if context.client_address:
        span.set_attribute("client.address", context.client_address)
    user_agent = context.headers.get(b"user-agent")
    if user_agent is not None:
        span.set_attribute("user_agent.original", user_agent.decode("latin-1"))


__all__ = ["RequestTracing", "is_excluded", "record_no_more", "take_over_span"]
