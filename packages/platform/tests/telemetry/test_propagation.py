"""A trace goes on in services that are called and in events, whether it is recorded or not."""

from collections.abc import Callable

import pytest
from opentelemetry import baggage, trace
from opentelemetry.context import attach, detach
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState

from service_platform.context import RequestContext
from service_platform.settings import PlatformSettings
from service_platform.telemetry.propagation import trace_attributes, trace_headers

CALLERS = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
OWN = "00-{:032x}-{:016x}-{:02x}"
Continue = Callable[[RequestContext | None], dict[str, str]]


def request(**headers: str) -> RequestContext:
    sent = {name.encode(): value.encode() for name, value in headers.items()}
    return RequestContext(
        {"type": "http", "path": "/", "headers": list(sent.items())},
        sent,
        settings=PlatformSettings(_env_file=None),
        task=None,
        client_address="",
        started=0.0,
        deadline=0.0,
    )


@pytest.mark.parametrize("flags", [0, 1])
@pytest.mark.parametrize("continued", [trace_headers, trace_attributes])
def test_the_current_span_is_the_parent(continued: Continue, flags: int) -> None:
    state = TraceState([("a", "b")])
    span = SpanContext(5, 6, is_remote=False, trace_flags=TraceFlags(flags), trace_state=state)
    with trace.use_span(NonRecordingSpan(span)):
        for context in (None, request(traceparent=CALLERS)):
            assert continued(context) == {
                "traceparent": OWN.format(5, 6, flags),
                "tracestate": "a=b",
            }


@pytest.mark.parametrize("continued", [trace_headers, trace_attributes])
def test_without_a_span_it_is_what_the_caller_has_sent(continued: Continue) -> None:
    assert continued(request(traceparent=CALLERS)) == {"traceparent": CALLERS}
    with_state = request(traceparent=CALLERS, tracestate="a=b,c=d")
    assert continued(with_state) == {"traceparent": CALLERS, "tracestate": "a=b,c=d"}


@pytest.mark.parametrize("continued", [trace_headers, trace_attributes])
def test_a_request_without_a_trace_begins_one(continued: Continue) -> None:
    context = request(tracestate="a=b")  # of nothing
    expected = f"00-{context.trace_id}-{context.span_id}-00"
    assert continued(context) == {"traceparent": expected}


@pytest.mark.parametrize("continued", [trace_headers, trace_attributes])
def test_outside_of_requests_and_spans_there_is_nothing_to_pass_on(continued: Continue) -> None:
    assert continued(None) == {}


def test_baggage_is_passed_on_to_services_and_not_into_events() -> None:
    token = attach(baggage.set_baggage("tenant", "7"))
    try:
        with trace.use_span(NonRecordingSpan(SpanContext(5, 6, is_remote=False))):
            assert trace_headers(None)["baggage"] == "tenant=7"
            assert trace_attributes(None).keys() == {"traceparent"}
    finally:
        detach(token)
