"""Lets the server span have the trace id and the decision that were made for its request."""

from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    DEFAULT_OFF,
    DEFAULT_ON,
    Decision,
    ParentBased,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)
from opentelemetry.trace import Link, SpanKind, TraceState
from opentelemetry.util.types import Attributes

from service_platform.context import current_context
from service_platform.settings.otel_variables import SAMPLER_ENTRY_POINTS

BUILT_IN: Final[Mapping[str, Sampler]] = {
    "always_on": ALWAYS_ON,
    "always_off": ALWAYS_OFF,
    "parentbased_always_on": DEFAULT_ON,
    "parentbased_always_off": DEFAULT_OFF,
}


def sampler_of(variables: Mapping[str, str]) -> Sampler:
    """Return the sampler of `OTEL_TRACES_SAMPLER`, also one that a library brings.

    Source: OpenTelemetry Python, entry points `opentelemetry_traces_sampler`: a function that gets
    `OTEL_TRACES_SAMPLER_ARG`.
    """
    name = variables.get("OTEL_TRACES_SAMPLER", "parentbased_always_on").strip().lower()
    argument = variables.get("OTEL_TRACES_SAMPLER_ARG", "")
    if name in BUILT_IN:
        return BUILT_IN[name]
    if name.endswith("traceidratio"):
        ratio = TraceIdRatioBased(float(argument or 1.0))
        return ParentBased(ratio) if name.startswith("parentbased") else ratio
    point, *_ = entry_points(group=SAMPLER_ENTRY_POINTS, name=name)
    make: Any = point.load()
    made: Sampler = make(argument)
    return made


class RequestIdGenerator(RandomIdGenerator):
    """Random ids, but for a request whose trace has an id already."""

    def generate_trace_id(self) -> int:
        """Return the id of the new trace."""
        context = current_context()
        if context is not None and context.sampling is not None:
            return int(context.trace_id, 16)
        return super().generate_trace_id()


class DecidedSampler(Sampler):
    """A sampler that keeps to what it has decided for a request (`RequestTracing`).

    What the code of a request that is not recorded makes is not recorded either, unless it says
    whose child it is. A span that begins a trace and is linked to a sampled one is sampled: it is
    the work on a batch of messages, of which one belongs to a trace that is looked at.

    Args:
        sampler: decides everything else.
    """

    def __init__(self, sampler: Sampler) -> None:
        self.use(sampler)

    def use(self, sampler: Sampler) -> None:
        """Let another sampler decide from now on."""
        self._sampler = sampler
        # Of a sampler that asks the parent first, what decides where there is none.
        root = getattr(sampler, "_root", sampler)
        self._root_bound = root.bound if isinstance(root, TraceIdRatioBased) else None

    def drops_root(self, trace_id: int) -> bool:
        """Return whether a trace that begins here is certainly dropped; cheaper than to ask."""
        bound = self._root_bound
        return bound is not None and trace_id & TraceIdRatioBased.TRACE_ID_LIMIT >= bound

    def should_sample(  # noqa: PLR0917 - the signature of the SDK
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """Return the decision about a span."""
        context = current_context()
        if context is not None:
            if context.is_recorded is False and parent_context is None:
                return SamplingResult(Decision.DROP, trace_state=_current_trace_state())
            if kind is SpanKind.SERVER and context.sampling is not None:
                result: SamplingResult = context.sampling
                context.sampling = None
                return SamplingResult(result.decision, attributes, result.trace_state)
        if links and any(link.context.trace_flags.sampled for link in links):
            return SamplingResult(Decision.RECORD_AND_SAMPLE, attributes)
        return self._sampler.should_sample(
            parent_context, trace_id, name, kind, attributes, links, trace_state
        )

    def get_description(self) -> str:
        """Describe the sampler for people."""
        return self._sampler.get_description()


def _current_trace_state() -> TraceState:
    return trace.get_current_span().get_span_context().trace_state


__all__ = ["DecidedSampler", "RequestIdGenerator", "sampler_of"]
