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
    INVALID_SPAN_CONTEXT,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    TraceFlags,
    format_span_id,
    format_trace_id,
)

from service_platform.context import SCOPE_KEY, RequestContext, current_context
from service_platform.middleware.access_log import QUIET_PATHS

LONGEST_QUERY: Final = 512


class Sampler(Protocol):
    """What is used of OpenTelemetry's `Sampler`."""

    def should_sample(
        self, parent_context: Context | None, trace_id: int, name: str, kind: SpanKind | None = None
    ) -> Any:
        """Return a result with `decision` and `trace_state`."""

    def drops_root(self, trace_id: int) -> bool:
        """Return whether a trace that begins here is certainly dropped."""


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
        if self._fields.isdisjoint(context.headers):
            return self._begin_trace(context)
        return self._continue_trace(context)

    def _begin_trace(self, context: RequestContext) -> Token[Context] | None:
        """Decide about a request without a caller's trace, of which there are many."""
        trace_id = random.getrandbits(128) or 1
        context.trace_id = format_trace_id(trace_id)
        if not self._sampler.drops_root(trace_id) and self._is_recorded(
            context, Context(), trace_id
        ):
            return None
        context.is_recorded = False
        return otel_context.attach(_unrecorded)

    def _is_recorded(self, context: RequestContext, parent: Context, trace_id: int) -> bool:
        if context.path in QUIET_PATHS:
            return False
        name = context.scope.get("method", "WS")
        result = self._sampler.should_sample(parent, trace_id, name, SpanKind.SERVER)
        if not result.decision.is_recording():
            return False
        context.is_recorded = True
        context.sampling = result
        context.trace_flags = "01" if result.decision.is_sampled() else "00"
        return True

    def _continue_trace(self, context: RequestContext) -> Token[Context] | None:
        """Decide about a request whose caller sends a trace or baggage."""
        parent = propagate.extract(context.headers, Context(), getter=_headers)
        parent_span = trace.get_current_span(parent).get_span_context()
        if parent_span.is_valid:
            trace_id = parent_span.trace_id
            flags, state = parent_span.trace_flags, parent_span.trace_state
        else:
            trace_id = random.getrandbits(128) or 1
            flags, state = TraceFlags(TraceFlags.DEFAULT), None
        context.trace_id = format_trace_id(trace_id)
        if self._is_recorded(context, parent, trace_id):
            return None
        if context.path not in QUIET_PATHS:
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


class _UnrecordedRequest(NonRecordingSpan):
    """The span of every request that begins a trace and is not recorded; it has the request's ids.

    One for all of them: to make it for each would be most of what such a request costs.
    """

    def get_span_context(self) -> SpanContext:
        """Return the ids of the request this code runs for."""
        context = current_context()
        if context is None:
            return INVALID_SPAN_CONTEXT
        return SpanContext(int(context.trace_id, 16), int(context.span_id, 16), is_remote=True)


_unrecorded: Final = trace.set_span_in_context(_UnrecordedRequest(INVALID_SPAN_CONTEXT), Context())


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
    if context is None:
        return False
    if context.is_recorded is None:  # the service's own tracer provider decides
        context.is_recorded = context.path not in QUIET_PATHS
    return not context.is_recorded


def record_no_more(scope: Any) -> None:
    """Take back that a request is recorded: it gets no server span."""
    context: RequestContext | None = scope.get(SCOPE_KEY)
    if context is not None:
        context.is_recorded = False
        context.sampling = None
        context.trace_flags = "00"


def server_span(context: RequestContext) -> Span | None:
    """Return the span that FastAPI has made for a request, where it is recorded."""
    telemetry: Any = context.scope.get("fastapi.telemetry")
    span: Span | None = getattr(telemetry, "span", None)
    return span if span is not None and span.is_recording() else None


def take_over_span(context: RequestContext, span: Span) -> None:
    """Give the request the ids of its server span, and the span what is known of the request.

    Where the platform exports nothing the span is the service's own business and stays as it is.
    """
    of_span = span.get_span_context()
    context.trace_id = format_trace_id(of_span.trace_id)
    context.span_id = format_span_id(of_span.span_id)
    context.trace_flags = f"{of_span.trace_flags:02x}"
    if not context.is_recorded:
        return
    attributes: dict[str, str | list[str]] = {
        "http.response.header.x-request-id": [context.request_id]
    }
    if context.client_address:
        attributes["client.address"] = context.client_address
    user_agent = context.headers.get(b"user-agent")
    if user_agent is not None:
        attributes["user_agent.original"] = user_agent.decode("latin-1")
    query = context.scope.get("query_string")
    if query:
        attributes["url.query"] = _without_values(query)
    span.set_attributes(attributes)


def _without_values(query: bytes) -> str:
    """Return the names in a query: callers put secrets into the values that FastAPI would show."""
    names = [pair.partition("=")[0] for pair in query.decode("latin-1").split("&")]
    return "&".join(f"{name}=REDACTED" for name in names)[:LONGEST_QUERY]


def name_span(context: RequestContext) -> None:
    """Name the server span after the route of its request, as FastAPI does."""
    span = server_span(context)
    if context.route is not None and span is not None:
        span.set_attribute("http.route", context.route)
        span.update_name(f"{context.scope.get('method', 'WS')} {context.route}")


def name_account(context: RequestContext, account: str) -> None:
    """Tell in the server span which account calls."""
    span = server_span(context)
    if span is not None:
        span.set_attribute("user.id", account)


__all__ = [
    "RequestTracing",
    "is_excluded",
    "name_account",
    "name_span",
    "record_no_more",
    "server_span",
    "take_over_span",
]
