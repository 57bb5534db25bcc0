"""Lets the server span have the trace id and the decision that were made for its request."""

from collections.abc import Sequence

from opentelemetry.context import Context
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanKind, TraceState
from opentelemetry.util.types import Attributes

from service_platform.context import current_context


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

    A span that begins a trace and is linked to a sampled one is sampled: it is the work on a batch
    of messages, of which one belongs to a trace that is looked at.

    Args:
        sampler: decides everything else.
    """

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler

    def use(self, sampler: Sampler) -> None:
        """Let another sampler decide from now on."""
        self._sampler = sampler

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
        if kind is SpanKind.SERVER:
            context = current_context()
            if context is not None and context.sampling is not None:
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


__all__ = ["DecidedSampler", "RequestIdGenerator"]
