import os

import pytest

from devtools.state import ServiceState, State
from devtools.terminal import telemetry

URL = "http://127.0.0.1:4318"
RECEIVER = ServiceState(port=4318, pid=os.getpid(), state="ready")


@pytest.mark.parametrize(
    ("values", "lines"),
    [
        ({}, []),
        (
            {"otlp_endpoint": "https://me:secret@viewer.example"},
            ["  OTLP        https://viewer.example  not started here (--otlp)"],
        ),
        (
            {"otlp_endpoint": URL, "receiver": RECEIVER},
            [f"  OTLP        {URL}  process {os.getpid()}", "  Traces: ./dev trace --slowest"],
        ),
        (
            {
                "otlp_endpoint": URL,
                "receiver": ServiceState(port=4318, detail="it has ended"),
                "otlp_forward_to": "https://me:secret@viewer.example",
            },
            [
                f"  OTLP        {URL}  it has ended, passed on to https://viewer.example",
                "  Traces: ./dev trace --slowest",
            ],
        ),
    ],
)
def test_where_spans_go_is_told(values: dict[str, object], lines: list[str]) -> None:
    state = State(pid=1)
    for name, value in values.items():
        setattr(state, name, value)
    assert [line.plain for line in telemetry(state)] == lines
