"""Decodes OTLP/HTTP requests, and encodes their answers: protobuf or JSON.

The protocol: https://opentelemetry.io/docs/specs/otlp/#otlphttp. JSON differs from protobuf's own
mapping in one point: ids of traces and spans are hexadecimal digits there, not base64.
"""

import base64
import json
import math
import zlib
from collections.abc import Iterable
from typing import Any, Final, TypeAlias

# These have types of their own or of others, but do not say so (PEP 561).
from google.protobuf.json_format import (  # type: ignore[import-untyped]
    MessageToJson,
    ParseDict,
    ParseError,
)
from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage

from devtools.telemetry.spans import Span, SpanEvent, SpanLink

PROTOBUF: Final = "application/x-protobuf"
JSON: Final = "application/json"

ExportRequest: TypeAlias = (
    ExportTraceServiceRequest | ExportMetricsServiceRequest | ExportLogsServiceRequest
)

REQUESTS: Final[dict[str, type[ExportRequest]]] = {
    "traces": ExportTraceServiceRequest,
    "metrics": ExportMetricsServiceRequest,
    "logs": ExportLogsServiceRequest,
}
RESPONSES: Final[dict[str, type[Message]]] = {
    "traces": ExportTraceServiceResponse,
    "metrics": ExportMetricsServiceResponse,
    "logs": ExportLogsServiceResponse,
}
KINDS: Final = ("internal", "internal", "server", "client", "producer", "consumer")
STATUSES: Final = ("unset", "ok", "error")

REQUEST_ID_HEADER: Final = "http.response.header.x-request-id"
CONVERSATION_ID: Final = "messaging.message.conversation_id"

_HEXADECIMAL: Final = frozenset({"traceId", "spanId", "parentSpanId"})
_REMOTE_IS_KNOWN: Final = 0x100
_REMOTE: Final = 0x200


class MalformedError(ValueError):
    """A body is not what its headers say; the message says why."""


class TooLargeError(ValueError):
    """A body is larger than allowed once it is decompressed."""


def gunzipped(body: bytes, limit: int) -> bytes:
    """Decompress a gzip body without holding more than `limit` bytes of it.

    Raises:
        MalformedError: it is not gzip, or incomplete.
        TooLargeError: there is more.
    """
    stream = zlib.decompressobj(wbits=31)
    try:
        content = stream.decompress(body, limit + 1)
    except zlib.error as error:
        raise MalformedError(f"the body is not gzip: {error}") from None
    if len(content) > limit:
        raise TooLargeError
    if not stream.eof:
        raise MalformedError("the gzip body is incomplete")
    return content


def decoded(signal: str, body: bytes, content_type: str) -> ExportRequest:
    """Decode a body.

    Args:
        signal: traces, metrics or logs.
        body: decompressed.
        content_type: `PROTOBUF` or `JSON`.

    Raises:
        MalformedError: it is no export request of this signal.
    """
    request = REQUESTS[signal]()
    try:
        if content_type == PROTOBUF:
            request.ParseFromString(body)
        else:
            ParseDict(_with_base64_ids(json.loads(body)), request, ignore_unknown_fields=True)
    except (DecodeError, ParseError, ValueError, TypeError, AttributeError, RecursionError):
        raise MalformedError(f"the body is no {type(request).__name__}") from None
    return request


def response(signal: str, content_type: str, rejected: int = 0) -> bytes:
    """Encode the answer to an export that was accepted, except for `rejected` spans."""
    answer = RESPONSES[signal]()
    if rejected and isinstance(answer, ExportTraceServiceResponse):
        answer.partial_success.rejected_spans = rejected
        answer.partial_success.error_message = "spans without valid trace and span ids are dropped"
    return _encoded(answer, content_type)


def refusal(message: str, content_type: str) -> bytes:
    """Encode the reason why an export was refused."""
    return _encoded(Status(message=message), content_type)


def spans_of(request: ExportTraceServiceRequest) -> tuple[list[Span], int]:
    """The spans of a request, and how many more have ids that are not valid."""
    spans, rejected = [], 0
    for resource_spans in request.resource_spans:
        resource = _attributes(resource_spans.resource.attributes)
        service = str(resource.get("service.name") or "unknown_service")
        for scope_spans in resource_spans.scope_spans:
            for message in scope_spans.spans:
                if _is_id(message.trace_id, 16) and _is_id(message.span_id, 8):
                    spans.append(_span(message, service))
                else:
                    rejected += 1
    return spans, rejected


def _span(message: SpanMessage, service: str) -> Span:
    attributes = _attributes(message.attributes)
    flags = message.flags
    return Span(
        trace_id=message.trace_id.hex(),
        span_id=message.span_id.hex(),
        parent_span_id=message.parent_span_id.hex() if any(message.parent_span_id) else "",
        service=service,
        name=message.name,
        kind=_word(KINDS, message.kind),
        start_ns=_time(message.start_time_unix_nano),
        end_ns=_time(message.end_time_unix_nano),
        status=_word(STATUSES, message.status.code),
        status_message=message.status.message,
        parent_is_remote=bool(flags & _REMOTE) if flags & _REMOTE_IS_KNOWN else None,
        attributes=attributes,
        events=tuple(
            SpanEvent(event.name, _time(event.time_unix_nano), _attributes(event.attributes))
            for event in message.events
        ),
        links=tuple(
            SpanLink(link.trace_id.hex(), link.span_id.hex(), _attributes(link.attributes))
            for link in message.links
        ),
        request_id=_request_id(attributes),
    )


def _request_id(attributes: dict[str, Any]) -> str:
    header = attributes.get(REQUEST_ID_HEADER)
    if isinstance(header, list) and header:
        return str(header[0])
    return str(header or attributes.get(CONVERSATION_ID) or "")


def _attributes(pairs: Iterable[KeyValue]) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:
    """A value as JSON has it: bytes become base64, numbers that JSON lacks become words."""
    match value.WhichOneof("value"):
        case "array_value":
            return [_value(each) for each in value.array_value.values]
        case "kvlist_value":
            return _attributes(value.kvlist_value.values)
        case "bytes_value":
            return base64.b64encode(value.bytes_value).decode("ascii")
        case "double_value":
            number = value.double_value
            return number if math.isfinite(number) else str(number)
        case None:
            return None
        case kind:
            return getattr(value, kind)


def _is_id(raw: bytes, length: int) -> bool:
    return len(raw) == length and any(raw)


def _time(nanoseconds: int) -> int:
    """A time that fits the 64 bits with sign of a database."""
    return min(nanoseconds, 2**63 - 1)


def _word(words: tuple[str, ...], number: int) -> str:
    return words[number] if 0 <= number < len(words) else words[0]


def _with_base64_ids(value: Any) -> Any:
    """The same JSON with ids as protobuf's mapping has them.

    Raises:
        ValueError: an id is not hexadecimal.
    """
    if isinstance(value, dict):
        return dict(_with_base64_id(*pair) for pair in value.items())
    if isinstance(value, list):
        return [_with_base64_ids(each) for each in value]
    return value


def _with_base64_id(name: str, value: Any) -> tuple[str, Any]:
    if name in _HEXADECIMAL and isinstance(value, str):
        try:
            return name, base64.b64encode(bytes.fromhex(value)).decode("ascii")
        except ValueError:
            raise ValueError(f"{name} is not hexadecimal") from None
    return name, _with_base64_ids(value)


def _encoded(message: Message, content_type: str) -> bytes:
    if content_type == PROTOBUF:
        return bytes(message.SerializeToString())
    return str(MessageToJson(message, indent=None)).encode()
