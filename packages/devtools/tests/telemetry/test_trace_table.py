import io
from typing import Any

import pytest
from rich.console import Console
from sample_spans import REQUEST, TRACE, span

from devtools.telemetry.spans import Span, Trace
from devtools.telemetry.trace_table import trace_table

CODE = "http.response.status_code"


def shown(*spans: Span, width: int = 200) -> list[list[str]]:
    return [line.split() for line in text(*spans, width=width).splitlines()]


def text(*spans: Span, width: int = 200) -> str:
    console = Console(width=width, file=io.StringIO(), force_terminal=False)
    console.print(trace_table([Trace.of(spans)], width))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_trace_is_a_line() -> None:
    _, line = shown(
        span("b", "a", service="users", at=1, took=9),
        span("a", name="POST /x", request_id=REQUEST, attributes={CODE: 201}),
    )
    assert line[3:] == [
        "10.0", "ms", "auth", "POST", "/x", "201", "2", "auth", "users", REQUEST, TRACE,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("values", "child", "status"),
    [
        ({"attributes": {CODE: 503}, "status": "error"}, "unset", "503"),
        ({"attributes": {CODE: 404}}, "unset", "404"),
        ({"attributes": {CODE: 201}}, "error", "error"),
        ({}, "unset", "ok"),
        ({"status": "error"}, "unset", "error"),
    ],
)
def test_the_status_is_that_of_the_answer_unless_something_else_failed(
    values: dict[str, Any], child: str, status: str
) -> None:
    _, line = shown(span("a", name="name", **values), span("b", "a", status=child))
    assert line[line.index("name") + 1] == status


@pytest.mark.parametrize("width", [110, 140])
def test_where_columns_are_few_ids_are_cut_to_beginnings(width: int) -> None:
    found = text(span("a", name="POST /" + "x" * 90, request_id=REQUEST), width=width)
    header, line = found.splitlines()
    assert "service  " not in header
    assert line.split()[-2:] == [REQUEST[:18], TRACE[:12]]
    assert "POST /xxx" in line
    assert "…" in line
    assert len(line.rstrip()) <= width
