"""The request context: ids accepted from callers and made where they are not."""

import pytest

from service_platform.context import RequestContext
from service_platform.settings import PlatformSettings

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"


def context_of(**headers: str) -> RequestContext:
    raw = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    return RequestContext({}, raw, settings=PlatformSettings(_env_file=None))


@pytest.mark.parametrize("offered", ["a", "A-b_c.9", "x" * 64])
def test_an_acceptable_request_id_is_kept(offered: str) -> None:
    assert context_of(x_request_id=offered).request_id == offered


@pytest.mark.parametrize("offered", ["", "x" * 65, "a b", "a\nb", "ä", "<script>"])
def test_any_other_request_id_is_replaced(offered: str) -> None:
    assert context_of(x_request_id=offered).request_id != offered


def test_every_request_has_its_own_ids() -> None:
    first, second = context_of(), context_of()
    assert first.request_id != second.request_id
    assert first.trace_id != second.trace_id


def test_a_trace_is_passed_on_as_it_came_where_no_span_is_recorded() -> None:
    context = context_of(traceparent=f"00-{TRACE}-{SPAN}-01", tracestate="vendor=1")
    assert context.traceparent == f"00-{TRACE}-{SPAN}-01"
    assert context.tracestate == "vendor=1"


def test_a_new_trace_is_valid_and_not_sampled() -> None:
    context = context_of(tracestate="of=nothing")
    version, trace_id, span_id, flags = context.traceparent.split("-")
    assert (version, flags, len(trace_id), len(span_id)) == ("00", "00", 32, 16)
    assert int(trace_id, 16)
    assert int(span_id, 16)
    assert context.tracestate == ""


@pytest.mark.parametrize(
    "traceparent",
    [
        "",
        "nonsense",
        f"00-{TRACE}-{SPAN}",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"ff-{TRACE}-{SPAN}-01",
    ],
)
def test_an_invalid_traceparent_begins_a_new_trace(traceparent: str) -> None:
    context = context_of(traceparent=traceparent)
    assert context.trace_id != TRACE
    assert len(context.trace_id) == 32
