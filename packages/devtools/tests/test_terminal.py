import os

import pytest

from devtools.state import ServiceState, State
from devtools.terminal import addresses, telemetry

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


GATEWAY = ServiceState(port=8000, pid=os.getpid(), state="ready")
PAGE = ServiceState(port=20_001, pid=os.getpid(), state="ready")
ROOT = "/state/gateway/authority/pki/authorities/local/root.crt"
WHAT = "all services, as behind the gateway of production"


@pytest.mark.parametrize(
    ("values", "lines"),
    [
        ({}, []),
        ({"gateway": GATEWAY, "page": PAGE}, [f"  http://localhost:8000  {WHAT}"]),
        (
            {"gateway": GATEWAY, "page": PAGE, "https_port": 8443},
            [
                f"  http://localhost:8000  https://localhost:8443  {WHAT}",
                f"  Trust its certificate: curl --cacert {ROOT} https://localhost:8443",
            ],
        ),
        (
            {"gateway": ServiceState(port=8000, detail="it has ended"), "page": PAGE},
            ["  http://localhost:8000  it has ended; see ./dev logs gateway"],
        ),
        (
            {"gateway": GATEWAY, "page": ServiceState(port=20_001)},
            [
                f"  http://localhost:8000  {WHAT}",
                "  The front page: starts again; see ./dev logs page",
            ],
        ),
    ],
)
def test_the_one_address_is_told(
    values: dict[str, object], lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEV_STATE_DIR", "/state")
    state = State(pid=1)
    for name, value in values.items():
        setattr(state, name, value)
    assert [line.plain for line in addresses(state)] == lines
