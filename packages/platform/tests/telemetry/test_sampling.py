"""Which traces are recorded: by the variables, by what was decided for a request, by links."""

from collections.abc import Callable, Iterator
from importlib import metadata
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    Decision,
    Sampler,
    SamplingResult,
)
from opentelemetry.trace import Link, SpanContext, SpanKind, TraceFlags, Tracer, TraceState

from service_platform.context import RequestContext, current
from service_platform.settings import PlatformSettings
from service_platform.telemetry import sampling
from service_platform.telemetry.sampling import DecidedSampler, RequestIdGenerator, sampler_of

TRACE = 0xABC << 64
REMOTE = SpanContext(TRACE, 7, is_remote=True, trace_flags=TraceFlags(1))
NOT_SAMPLED = SpanContext(TRACE, 7, is_remote=True, trace_flags=TraceFlags(0))


@pytest.fixture
def context() -> Iterator[RequestContext]:
    scope = {"type": "http", "path": "/", "headers": []}
    made = RequestContext(
        scope,
        {},
        settings=PlatformSettings(_env_file=None),
        task=None,
        client_address="",
        started=0.0,
        deadline=0.0,
    )
    token = current.set(made)
    yield made
    current.reset(token)


def tracer_of(sampler: Sampler) -> Tracer:
    provider = TracerProvider(
        sampler=sampler, id_generator=RequestIdGenerator(), shutdown_on_exit=False
    )
    return provider.get_tracer("test")


def within(parent: SpanContext) -> Context:
    return trace.set_span_in_context(trace.NonRecordingSpan(parent), Context())


@pytest.mark.parametrize(
    ("name", "argument", "description"),
    [
        (None, None, "ParentBased{root:AlwaysOnSampler"),
        ("always_on", None, "AlwaysOnSampler"),
        (" Always_Off ", "0.5", "AlwaysOffSampler"),
        ("parentbased_always_on", None, "ParentBased{root:AlwaysOnSampler"),
        ("parentbased_always_off", None, "ParentBased{root:AlwaysOffSampler"),
        ("traceidratio", "0.25", "TraceIdRatioBased{0.25}"),
        ("traceidratio", None, "TraceIdRatioBased{1.0}"),
        ("parentbased_traceidratio", "0", "ParentBased{root:TraceIdRatioBased{0.0}"),
    ],
)
def test_the_variables_choose_a_sampler(
    name: str | None, argument: str | None, description: str
) -> None:
    given = {"OTEL_TRACES_SAMPLER": name, "OTEL_TRACES_SAMPLER_ARG": argument}
    made = sampler_of({key: value for key, value in given.items() if value is not None})
    assert made.get_description().startswith(description)


class OwnSampler(DecidedSampler):
    """A sampler of a library."""

    def __init__(self, argument: str) -> None:
        super().__init__(ALWAYS_ON)
        self.argument = argument


def test_a_sampler_that_a_library_brings_gets_its_argument(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    point = metadata.EntryPoint("own", f"{__name__}:OwnSampler", "opentelemetry_traces_sampler")
    monkeypatch.setattr(metadata.EntryPoint, "load", lambda _: OwnSampler)
    monkeypatch.setattr(sampling, "entry_points", lambda **asked: {"own": [point]}[asked["name"]])
    made = sampler_of({"OTEL_TRACES_SAMPLER": "own", "OTEL_TRACES_SAMPLER_ARG": "x=1"})
    assert isinstance(made, OwnSampler)
    assert made.argument == "x=1"


@pytest.mark.parametrize("decision", [Decision.RECORD_AND_SAMPLE, Decision.DROP])
def test_the_server_span_keeps_to_what_was_decided_and_uses_it_up(
    context: RequestContext, decision: Decision
) -> None:
    context.sampling = SamplingResult(decision, {"of": "the decision"}, TraceState([("a", "b")]))
    sampled = decision is Decision.RECORD_AND_SAMPLE
    tracer = tracer_of(DecidedSampler(ALWAYS_OFF if sampled else ALWAYS_ON))
    for recorded in (sampled, not sampled):
        started = tracer.start_span("GET", kind=SpanKind.SERVER)
        assert started.is_recording() is recorded
    assert context.sampling is None


def test_the_server_span_has_the_trace_id_of_its_request(context: RequestContext) -> None:
    context.sampling = SamplingResult(Decision.RECORD_AND_SAMPLE, None, TraceState([("a", "b")]))
    tracer = tracer_of(DecidedSampler(ALWAYS_OFF))
    started: Any = tracer.start_span("GET", kind=SpanKind.SERVER, attributes={"kept": 1})
    of_span = started.get_span_context()
    assert trace.format_trace_id(of_span.trace_id) == context.trace_id
    assert of_span.trace_state == TraceState([("a", "b")])
    assert dict(started.attributes) == {"kept": 1}
    later = tracer.start_span("other", kind=SpanKind.SERVER).get_span_context()
    assert trace.format_trace_id(later.trace_id) != context.trace_id


def test_other_spans_do_not_take_the_decision(context: RequestContext) -> None:
    context.sampling = SamplingResult(Decision.RECORD_AND_SAMPLE)
    tracer = tracer_of(DecidedSampler(ALWAYS_OFF))
    assert not tracer.start_span("a", kind=SpanKind.CLIENT).is_recording()
    assert tracer.start_span("b", kind=SpanKind.SERVER).is_recording()


def test_a_request_that_is_not_recorded_has_no_spans(context: RequestContext) -> None:
    tracer = tracer_of(DecidedSampler(ALWAYS_ON))
    assert tracer.start_span("before").is_recording()
    context.is_recorded = False
    state = TraceState([("a", "b")])
    caller = SpanContext(TRACE, 7, is_remote=True, trace_state=state)
    with trace.use_span(trace.NonRecordingSpan(caller)):
        of_span = tracer.start_span("inside").get_span_context()
    assert not of_span.trace_flags.sampled
    assert (of_span.trace_id, of_span.trace_state) == (TRACE, state)
    assert not tracer.start_span("of a request that its service excludes").is_recording()
    assert tracer.start_span("a trace of its own", context=Context()).is_recording()


Start = Callable[[Tracer], Any]


@pytest.mark.parametrize(
    ("start", "recorded"),
    [
        (lambda tracer: tracer.start_span("root", context=Context()), False),
        (
            lambda tracer: tracer.start_span("batch", context=Context(), links=[Link(REMOTE)]),
            True,
        ),
        (
            lambda tracer: tracer.start_span(
                "batch", context=Context(), links=[Link(NOT_SAMPLED), Link(REMOTE)]
            ),
            True,
        ),
        (
            lambda tracer: tracer.start_span("batch", context=Context(), links=[Link(NOT_SAMPLED)]),
            False,
        ),
    ],
    ids=["no link", "link", "one of two links", "link that is not sampled"],
)
def test_work_on_a_batch_is_sampled_where_one_of_its_messages_is(
    start: Start, recorded: bool
) -> None:
    tracer = tracer_of(DecidedSampler(ALWAYS_OFF))
    assert start(tracer).is_recording() is recorded


def test_another_sampler_can_be_used_from_now_on() -> None:
    sampler = DecidedSampler(ALWAYS_OFF)
    tracer = tracer_of(sampler)
    assert not tracer.start_span("a").is_recording()
    sampler.use(sampler_of({}))
    assert tracer.start_span("b").is_recording()
    assert tracer.start_span("c", context=within(REMOTE)).is_recording()
    assert not tracer.start_span("d", context=within(NOT_SAMPLED)).is_recording()
    assert sampler.get_description().startswith("ParentBased")
