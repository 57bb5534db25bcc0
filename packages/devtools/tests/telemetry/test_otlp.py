import base64
import gzip
import json
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from sample_spans import BEGAN_NS, TRACE

from devtools.telemetry import otlp
from devtools.telemetry.spans import Span, SpanEvent, SpanLink


def as_json(**span: Any) -> bytes:
    whole = {
        "traceId": TRACE.upper(),
        "spanId": "b7ad6b7169203331",
        "name": "GET /users",
        "kind": 2,
        "startTimeUnixNano": str(BEGAN_NS),
        "endTimeUnixNano": str(BEGAN_NS + 5),
        **span,
    }
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "users"}}]}
    return json.dumps(
        {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [whole]}]}]}
    ).encode()


def spans_in(body: bytes, content_type: str = otlp.JSON) -> tuple[list[Span], int]:
    request = otlp.decoded("traces", body, content_type)
    assert isinstance(request, ExportTraceServiceRequest)
    return otlp.spans_of(request)


def only(body: bytes) -> Span:
    (span,), rejected = spans_in(body)
    assert rejected == 0
    return span


def test_every_field_of_a_span_is_kept() -> None:
    linked = {"traceId": "4bf92f3577b34da6a3ce929d0e0e4736", "spanId": "00f067aa0ba902b7"}
    body = as_json(
        parentSpanId="aaaaaaaaaaaaaaaa",
        flags=0x301,
        status={"code": 2, "message": "refused"},
        attributes=[{"key": "db.query.text", "value": {"stringValue": "SELECT 1"}}],
        events=[{
            "name": "exception",
            "timeUnixNano": str(BEGAN_NS + 1),
            "attributes": [{"key": "exception.type", "value": {"stringValue": "OSError"}}],
        }],
        links=[linked],
    )  # fmt: skip
    assert only(body) == Span(
        trace_id=TRACE,
        span_id="b7ad6b7169203331",
        parent_span_id="aaaaaaaaaaaaaaaa",
        service="users",
        name="GET /users",
        kind="server",
        start_ns=BEGAN_NS,
        end_ns=BEGAN_NS + 5,
        status="error",
        status_message="refused",
        parent_is_remote=True,
        attributes={"db.query.text": "SELECT 1"},
        events=(SpanEvent("exception", BEGAN_NS + 1, {"exception.type": "OSError"}),),
        links=(SpanLink(linked["traceId"], linked["spanId"]),),
    )


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ({"stringValue": "a"}, "a"),
        ({"boolValue": False}, False),
        ({"intValue": "-9007199254740993"}, -9007199254740993),
        ({"doubleValue": 0.5}, 0.5),
        ({"doubleValue": "NaN"}, "nan"),
        ({"bytesValue": base64.b64encode(b"\0\1").decode()}, "AAE="),
        ({"arrayValue": {"values": [{"intValue": 1}, {"stringValue": "b"}]}}, [1, "b"]),
        ({"kvlistValue": {"values": [{"key": "k", "value": {"intValue": 2}}]}}, {"k": 2}),
        ({}, None),
    ],
)
def test_an_attribute_of_any_type_is_kept_as_json(value: dict[str, Any], kept: object) -> None:
    span = only(as_json(attributes=[{"key": "it", "value": value}]))
    assert span.attributes == {"it": kept}
    json.dumps(span.attributes, allow_nan=False)


@pytest.mark.parametrize(
    ("name", "value", "request_id"),
    [
        (otlp.REQUEST_ID_HEADER, {"arrayValue": {"values": [{"stringValue": "r-1"}]}}, "r-1"),
        (otlp.REQUEST_ID_HEADER, {"stringValue": "r-2"}, "r-2"),
        (otlp.CONVERSATION_ID, {"stringValue": "r-3"}, "r-3"),
        ("http.request.header.x-request-id", {"stringValue": "r-4"}, ""),
    ],
)
def test_the_request_id_is_that_of_the_answer_or_of_the_event(
    name: str, value: dict[str, Any], request_id: str
) -> None:
    assert only(as_json(attributes=[{"key": name, "value": value}])).request_id == request_id


@pytest.mark.parametrize(
    "ids",
    [{"traceId": "00" * 16}, {"traceId": "ab"}, {"spanId": "00" * 8}, {"spanId": ""}],
)
def test_a_span_without_valid_ids_is_counted_and_left_out(ids: dict[str, str]) -> None:
    assert spans_in(as_json(**ids)) == ([], 1)


def test_kinds_and_states_of_later_versions_are_no_error() -> None:
    span = only(as_json(kind=99, status={"code": 7}, newField={"a": 1}))
    assert (span.kind, span.status) == ("internal", "unset")


@pytest.mark.parametrize(
    ("flags", "remote"), [(0, None), (0x001, None), (0x100, False), (0x301, True)]
)
def test_whether_a_parent_is_of_another_process(flags: int, remote: bool | None) -> None:
    assert only(as_json(flags=flags)).parent_is_remote is remote


def test_a_parent_of_zeros_is_none() -> None:
    assert only(as_json(parentSpanId="0000000000000000")).parent_span_id == ""


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"\xff\xff\xff nonsense", otlp.PROTOBUF),
        (b"{", otlp.JSON),
        (b"[1]", otlp.JSON),
        (b"null", otlp.JSON),
        (b"\xff", otlp.JSON),
        (b"[" * 100_000, otlp.JSON),
        (as_json(traceId="not hexadecimal"), otlp.JSON),
        (as_json(startTimeUnixNano="-1"), otlp.JSON),
        (as_json(name="\ud800"), otlp.JSON),
        (b'{"resourceSpans": 5}', otlp.JSON),
    ],
)
def test_what_is_no_request_is_malformed(body: bytes, content_type: str) -> None:
    with pytest.raises(otlp.MalformedError, match="ExportTraceServiceRequest"):
        otlp.decoded("traces", body, content_type)


def test_gzip_is_decompressed_up_to_a_limit() -> None:
    packed = gzip.compress(b"x" * 1000)
    assert otlp.gunzipped(packed, 1000) == b"x" * 1000
    with pytest.raises(otlp.TooLargeError):
        otlp.gunzipped(packed, 999)
    with pytest.raises(otlp.MalformedError, match="incomplete"):
        otlp.gunzipped(packed[:-4], 1000)
    with pytest.raises(otlp.MalformedError, match="not gzip"):
        otlp.gunzipped(b"plain", 1000)


def test_rejected_spans_are_told_in_the_answer() -> None:
    answer = ExportTraceServiceResponse.FromString(otlp.response("traces", otlp.PROTOBUF, 3))
    assert answer.partial_success.rejected_spans == 3
    assert json.loads(otlp.response("traces", otlp.JSON)) == {}
    told = json.loads(otlp.response("traces", otlp.JSON, 3))
    assert told["partialSuccess"]["rejectedSpans"] == "3"
