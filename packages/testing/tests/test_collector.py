"""The collector of tests understands what the SDK's exporters send."""

import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import Link, SpanKind, StatusCode

from service_testing.collector import Collector, running_collector


@pytest.fixture(scope="module")
def running() -> Iterator[Collector]:
    with running_collector() as collector:
        yield collector


@pytest.fixture
def collector(running: Collector) -> Collector:
    running.spans.clear()
    running.headers.clear()
    running.answer = lambda: (200, b"")
    return running


def provider_of(collector: Collector, compression: Compression) -> TracerProvider:
    provider = TracerProvider(resource=Resource({"service.name": "shop"}), shutdown_on_exit=False)
    exporter = OTLPSpanExporter(
        f"{collector.url}/v1/traces", headers={"Authorization": "a"}, compression=compression
    )
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip])
def test_a_span_is_received_as_it_was_made(collector: Collector, compression: Compression) -> None:
    tracer = provider_of(collector, compression).get_tracer("test")
    parent = tracer.start_span("parent", kind=SpanKind.SERVER, start_time=1_000)
    context = trace.set_span_in_context(parent)
    of_parent = parent.get_span_context()
    child = tracer.start_span(
        "child", context=context, links=[Link(of_parent)], attributes={"a": [1, 2], "b": True}
    )
    child.add_event("exception", {"exception.type": "ValueError"})
    child.set_status(StatusCode.ERROR)
    child.end()
    parent.end(3_000)
    received_child, received = collector.wait_for(lambda spans: len(spans) == 2 and spans)
    ids = trace.format_trace_id(of_parent.trace_id), trace.format_span_id(of_parent.span_id)
    assert (received.trace_id, received.span_id, received.parent_id) == (*ids, "")
    assert (received.name, received.kind, received.service) == ("parent", 2, "shop")
    assert (received.start, received.end, received.is_error) == (1_000, 3_000, False)
    assert received.resource == {"service.name": "shop"}
    assert (received_child.trace_id, received_child.parent_id) == ids
    assert received_child.links == [ids]
    assert received_child.attributes == {"a": [1, 2], "b": True}
    assert received_child.events == [("exception", {"exception.type": "ValueError"})]
    assert received_child.is_error
    assert collector.headers[0]["authorization"] == "a"


def test_the_newest_value_of_a_metric_is_kept(collector: Collector) -> None:
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(f"{collector.url}/v1/metrics"))
    provider = MeterProvider([reader], shutdown_on_exit=False)
    counter = provider.get_meter("test").create_counter("orders")
    for expected in (1, 2):
        counter.add(1)
        reader.force_flush()
        (point,) = collector.metrics["orders"].sum.data_points
        assert point.as_int == expected
    provider.shutdown()


def test_what_is_refused_is_not_kept(collector: Collector) -> None:
    collector.answer = lambda: (503, b"busy")
    request = urllib.request.Request(f"{collector.url}/v1/traces", data=b"\xff")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request)
    with refused.value as answer:
        assert (answer.code, answer.read()) == (503, b"busy")
    assert collector.spans == []
    assert len(collector.headers) == 1


def test_waiting_in_vain_says_what_there_is(collector: Collector) -> None:
    provider_of(collector, Compression.NoCompression).get_tracer("test").start_span("a").end()
    with pytest.raises(AssertionError, match=r"not among \[\('shop', 'a'\)\]"):
        collector.wait_for(lambda spans: len(spans) == 2, seconds=0.1)
