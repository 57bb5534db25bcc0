"""Exceptions are recorded once, without the passwords of URLs."""

from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.trace import Span, StatusCode

from service_platform.telemetry.exceptions import (
    ExceptionEvents,
    record_exception,
    without_passwords,
)


@pytest.fixture
def make_span() -> Any:
    return TracerProvider(shutdown_on_exit=False).get_tracer("test").start_span


def ended(span: Span) -> ReadableSpan:
    span.end()
    assert isinstance(span, ReadableSpan)
    return span


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("postgresql://me:pw@db/shop", "postgresql://me:***@db/shop"),
        ("redis://:p%40w@cache:6379/0 and amqp://a:b@c", "redis://:***@cache:6379/0 and amqp://a:***@c"),
        ("https://example.com:8080/a@b", "https://example.com:8080/a@b"),
        ("mail me@example.com: now", "mail me@example.com: now"),
    ],
)  # fmt: skip
def test_passwords_of_urls_are_removed(text: str, told: str) -> None:
    assert without_passwords(text) == told


class Closed(Exception):  # noqa: N818
    """Cannot be marked."""

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(name)


def test_an_exception_is_an_event_with_its_traceback(make_span: Any) -> None:
    span = make_span("a")
    try:
        raise KeyError("redis://:hunter2@cache")
    except KeyError as error:
        record_exception(span, error)
    told = ended(span)
    (event,) = told.events
    attributes = dict(event.attributes or {})
    assert event.name == "exception"
    assert attributes["exception.type"] == "KeyError"
    assert attributes["exception.message"] == "'redis://:***@cache'"
    assert __file__ in str(attributes["exception.stacktrace"])
    assert "hunter2" not in str(attributes)
    assert told.status.status_code is StatusCode.ERROR
    assert dict(told.attributes or {})["error.type"] == "KeyError"


def test_the_second_span_only_has_the_status(make_span: Any) -> None:
    error, inner, outer = ValueError(), make_span("inner"), make_span("outer")
    record_exception(inner, error)
    record_exception(outer, error)
    assert len(ended(inner).events) == 1
    assert len(ended(outer).events) == 0
    assert ended(outer).status.status_code is StatusCode.ERROR


def test_what_is_not_recorded_leaves_it_to_a_span_that_is(make_span: Any) -> None:
    error, span = ValueError(), make_span("outer")
    record_exception(trace.INVALID_SPAN, error)
    record_exception(span, error)
    assert len(ended(span).events) == 1


def test_an_exception_that_cannot_be_marked_is_recorded_each_time(make_span: Any) -> None:
    error, span = Closed(), make_span("a")
    record_exception(span, error)
    record_exception(span, error)
    assert len(ended(span).events) == 2


def test_a_log_record_with_an_exception_is_an_event_of_the_current_span(make_span: Any) -> None:
    logger = ExceptionEvents().get_logger("fastapi")
    assert logger.enabled()
    span = make_span("a")
    with trace.use_span(span):
        logger.emit(body="Request validation failed")
        logger.emit(body="Unhandled", exception=ValueError("no"), event_name="b", timestamp=1)
    (event,) = ended(span).events
    assert dict(event.attributes or {})["exception.message"] == "no"
