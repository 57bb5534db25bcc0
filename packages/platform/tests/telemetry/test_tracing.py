"""What the spans of the platform have in common."""

import asyncio

import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, SpanKind
from packages.platform.tests.telemetry.conftest import Traced

from service_platform.telemetry import span
from service_platform.telemetry.tracing import client_span, is_recording, set_failed


async def test_a_span_has_what_it_is_given(traced: Traced) -> None:
    async def work() -> None:
        around = trace.get_current_span().get_span_context()
        with span("a", SpanKind.PRODUCER, {"b": 1}, links=[Link(around)]) as inside:
            assert is_recording()
            assert trace.get_current_span() is inside
        assert trace.get_current_span().get_span_context() == around

    (made,) = await traced(work())
    assert (made.name, made.kind, made.attributes) == ("a", 4, {"b": 1})
    assert made.links == [(made.trace_id, made.parent_id)]


async def test_a_span_records_what_its_code_raises(traced: Traced) -> None:
    async def work() -> None:
        with pytest.raises(KeyError), span("a"):
            raise KeyError("b")

    (failed,) = await traced(work())
    assert failed.is_error
    ((name, attributes),) = failed.events
    assert (name, attributes["exception.message"]) == ("exception", "'b'")


async def test_a_cancellation_is_no_failure_of_a_span(traced: Traced) -> None:
    async def work() -> None:
        with pytest.raises(asyncio.CancelledError), span("a"):
            raise asyncio.CancelledError

    (made,) = await traced(work())
    assert (made.is_error, made.events) == (False, [])


@pytest.mark.parametrize("error", [KeyError("hunter2"), asyncio.CancelledError("hunter2")])
async def test_a_call_that_failed_or_was_cancelled_is_told_by_its_kind_alone(
    traced: Traced, error: BaseException
) -> None:
    async def work() -> None:
        with pytest.raises(type(error)), client_span("a", {"b": 1}):
            raise error

    (made,) = await traced(work())
    assert (made.kind, made.is_error, made.events) == (3, True, [])
    assert made.attributes == {"b": 1, "error.type": type(error).__name__}


async def test_a_failure_may_be_told_by_a_word(traced: Traced) -> None:
    async def work() -> None:
        with client_span("a", {}) as made:
            set_failed(made, "503")

    (made,) = await traced(work())
    assert made.is_error
    assert made.attributes["error.type"] == "503"


def test_nothing_is_recorded_where_nothing_is_exported() -> None:
    assert not is_recording()
    with span("a", context=Context()):
        assert not is_recording()
