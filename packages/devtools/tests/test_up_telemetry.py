"""`./dev up --telemetry --otlp URL`: the receiver beside the services, and what they are given."""

import json
import os
import signal
import socket
import time
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest
from local_system import System

from devtools.telemetry.exporting import PORT

ID = "4bf92f3577b34da6a3ce929d0e0e4736"
SPANS = {"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": ID, "spanId": "a" * 16}]}]}]}


@pytest.fixture(scope="module")
def up(system: System) -> Iterator[str]:
    """What it said: with its usual port taken, and a viewer that is away."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", PORT + system.offset))
        taken.listen()
        done = system.up(
            "--only=users", "--no-reload", "--telemetry", "--otlp=http://127.0.0.1:1/viewer"
        )
    assert done.returncode == 0, done.said
    yield done.stdout
    system.dev("down")


def kept(system: System) -> Any:
    return json.loads((system.state_dir / "run" / "state.json").read_text())


def send(url: str) -> int:
    request = urllib.request.Request(
        f"{url}/v1/traces",
        json.dumps(SPANS).encode(),
        {"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return int(answer.status)


def test_another_port_is_taken_where_the_usual_one_is(system: System, up: str) -> None:
    url = kept(system)["otlp_endpoint"]
    assert url != f"http://127.0.0.1:{PORT + system.offset}"
    assert url in up
    log = (system.state_dir / "logs" / "dev.log").read_text()
    assert f"because another program has {PORT + system.offset}" in log


def test_services_are_told_where_to_send(system: System, up: str) -> None:
    state = kept(system)
    environment = psutil.Process(state["services"]["users"]["pid"]).environ()
    assert {name: value for name, value in environment.items() if name.startswith("OTEL_")} == {
        "OTEL_EXPORTER_OTLP_ENDPOINT": state["otlp_endpoint"],
        "OTEL_TRACES_SAMPLER": "parentbased_always_on",
        "OTEL_BSP_SCHEDULE_DELAY": "500",
    }
    receiver = psutil.Process(state["receiver"]["pid"])
    assert receiver.create_time() < psutil.Process(state["services"]["users"]["pid"]).create_time()


def test_what_is_sent_is_seen_and_a_viewer_that_is_away_is_told(system: System, up: str) -> None:
    assert send(kept(system)["otlp_endpoint"]) == 200
    shown = system.dev("trace", ID[:8])
    assert (shown.returncode, ID in shown.stdout) == (0, True), shown.said
    away = "http://127.0.0.1:1/viewer does not answer; spans are kept here all the same."
    deadline = time.monotonic() + 10
    while away not in (logs := system.dev("logs").stdout):
        assert time.monotonic() < deadline, logs
    assert [line.split()[0] for line in logs.splitlines() if away in line] == ["otlp"]


def test_overview_and_status_say_how_traces_are_seen(system: System, up: str) -> None:
    for shown in (up, system.dev("status").stdout):
        assert "Traces: ./dev trace --slowest" in shown
        assert "passed on to http://127.0.0.1:1/viewer" in shown


def test_a_receiver_that_was_killed_is_started_again_and_keeps_its_spans(
    system: System, up: str
) -> None:
    before = kept(system)["receiver"]["pid"]
    os.kill(before, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while (found := kept(system)["receiver"])["state"] != "ready" or found["pid"] == before:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert send(kept(system)["otlp_endpoint"]) == 200
    assert ID in system.dev("trace", ID, "--json").stdout


def test_the_end_of_everything_ends_it(system: System, up: str) -> None:
    assert system.dev("down").returncode == 0
    assert system.processes() == []
    assert ID in system.dev("trace", "--json").stdout  # as logs, until the next start


def test_a_url_that_makes_no_sense_is_refused(system: System, free_port: Callable[[], int]) -> None:
    done = system.dev("up", "--detach", f"--otlp=localhost:{free_port()}")
    assert done.returncode == 2
    assert done.stderr.strip() == (
        "✗ --otlp needs an absolute http or https URL, such as http://127.0.0.1:4318."
    )
