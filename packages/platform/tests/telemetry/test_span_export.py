"""Spans wait in a bounded queue; each that does not reach the collector is counted."""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from service_platform.telemetry.span_export import SpanQueue

SUCCESS, FAILURE = SpanExportResult.SUCCESS, SpanExportResult.FAILURE


class Exporter(SpanExporter):
    """Answers what a test wants, and waits where it wants that."""

    def __init__(self) -> None:
        self.answer: Callable[[], SpanExportResult] = lambda: SUCCESS
        self.called = threading.Event()
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.batches: list[int] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.called.set()
        assert self.may_answer.wait(20)
        self.batches.append(len(spans))
        return self.answer()


def counted() -> dict[str, float]:
    """The counters of spans, by what became of them."""
    found = {
        sample.labels.get("reason", "exported"): sample.value
        for family in REGISTRY.collect()
        if family.name in {"telemetry_spans_exported", "telemetry_spans_dropped"}
        for sample in family.samples
        if sample.name.endswith("_total")
    }
    assert found.keys() == {"exported", "queue_full", "export_failed", "shutdown"}
    return found


@contextmanager
def counting(**expected: int) -> Iterator[None]:
    """The counters rise by this in the block, and no other does."""
    before = counted()
    yield
    after = counted()
    rises = {name: after[name] - before[name] for name in after if after[name] != before[name]}
    assert rises == expected


@pytest.fixture(autouse=True)
def _level() -> Iterator[None]:
    logger = logging.getLogger("opentelemetry.exporter.otlp")
    level = logger.level
    yield
    logger.setLevel(level)


@pytest.fixture
def exporter() -> Exporter:
    return Exporter()


@pytest.fixture
def queue(exporter: Exporter) -> Iterator[SpanQueue]:
    made = SpanQueue(exporter, 4, delay_seconds=3600)
    yield made
    exporter.may_answer.set()
    made.shutdown()


def end_spans(queue: SpanQueue, count: int, provider: TracerProvider | None = None) -> None:
    provider = provider or TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(queue)
    for number in range(count):
        provider.get_tracer("test").start_span(f"span {number}").end()


def test_what_the_collector_takes_is_counted(queue: SpanQueue, exporter: Exporter) -> None:
    with counting(exported=3):
        end_spans(queue, 3)
        assert queue.force_flush()
    assert exporter.batches == [3]


def test_the_queue_is_exported_when_it_is_full(queue: SpanQueue, exporter: Exporter) -> None:
    end_spans(queue, 4)
    assert exporter.called.wait(20)


def test_a_batch_is_no_greater_than_the_queue_and_can_be_smaller(exporter: Exporter) -> None:
    for size, batch_size, batches in ((2, 512, [2]), (4, 1, [1, 1])):
        exporter.batches.clear()
        queue = SpanQueue(exporter, size, batch_size=batch_size, delay_seconds=3600)
        end_spans(queue, 2)
        queue.shutdown()
        assert exporter.batches == batches


def test_what_finds_the_queue_full_is_dropped_and_counted(
    queue: SpanQueue, exporter: Exporter
) -> None:
    exporter.may_answer.clear()
    with counting(exported=4, queue_full=3):
        end_spans(queue, 4)
        assert exporter.called.wait(20)
        end_spans(queue, 3)  # the four are under way, and may not arrive
        exporter.may_answer.set()
        assert queue.force_flush()
    with counting(exported=2):
        end_spans(queue, 2)
        assert queue.force_flush()


def test_a_span_that_is_not_sampled_is_none_of_its_business(
    queue: SpanQueue, exporter: Exporter
) -> None:
    with counting():
        end_spans(queue, 1, TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False))
        assert queue.force_flush()
    assert exporter.batches == []


def _raises() -> SpanExportResult:
    raise OSError("no such certificate")


@pytest.mark.parametrize("answer", [lambda: FAILURE, _raises], ids=["fails", "raises"])
def test_what_the_collector_does_not_take_is_counted(
    queue: SpanQueue, exporter: Exporter, answer: Callable[[], SpanExportResult]
) -> None:
    exporter.answer = answer
    with counting(export_failed=2):
        end_spans(queue, 2)
        queue.force_flush()
    exporter.answer = lambda: SUCCESS
    with counting(exported=1):
        end_spans(queue, 1)
        queue.force_flush()


def test_an_outage_is_one_line_and_one_for_its_end(queue: SpanQueue, exporter: Exporter) -> None:
    logger = logging.getLogger("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    with capture_logs() as lines:
        for answer, enabled in ((FAILURE, False), (FAILURE, False), (SUCCESS, True)) * 2:
            exporter.answer = lambda: answer  # noqa: B023 - called within the turn
            end_spans(queue, 1)
            queue.force_flush()
            assert logger.isEnabledFor(logging.ERROR) is enabled
            assert not logger.isEnabledFor(logging.WARNING)  # of each try
    assert [line["event"] for line in lines] == [
        "telemetry_dropped",
        "telemetry_exported_again",
    ] * 2
    assert lines[0]["metric"] == "telemetry_spans_dropped_total"


def test_what_ends_after_the_shutdown_is_counted(queue: SpanQueue) -> None:
    queue.shutdown()
    with counting(shutdown=2):
        end_spans(queue, 2)


def test_giving_up_counts_what_waits_once(queue: SpanQueue, exporter: Exporter) -> None:
    exporter.may_answer.clear()
    with counting(shutdown=3):
        end_spans(queue, 3)
        ending = threading.Thread(target=queue.shutdown)
        ending.start()
        assert exporter.called.wait(20)
        assert queue.give_up() == 3
        exporter.may_answer.set()  # too late
        ending.join()
    assert exporter.batches == [3]
    assert queue.give_up() == 0
