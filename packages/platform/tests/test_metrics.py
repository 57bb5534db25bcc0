"""Metrics of requests, as Prometheus reads them."""

import os
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
from prometheus_client import REGISTRY, CollectorRegistry, Counter
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families

from service_platform.metrics import choose_format, observe_request, requests_in_flight

NAME = "http_server_request_duration_seconds"


def count_of(method: str, route: str, status: str) -> float:
    labels = {"method": method, "route": route, "status": status}
    return REGISTRY.get_sample_value(f"{NAME}_count", labels) or 0.0


def test_requests_are_counted_by_method_route_and_status() -> None:
    before = count_of("GET", "/of/{this}/test", "200")
    for seconds in (0.002, 3.0):
        observe_request("GET", "/of/{this}/test", 200, seconds)
    observe_request("GET", "/of/{this}/test", 404, 0.1)
    assert count_of("GET", "/of/{this}/test", "200") - before == 2
    assert count_of("GET", "/of/{this}/test", "404") == 1


def test_methods_of_callers_make_no_time_series_of_their_own() -> None:
    before = count_of("_OTHER", "/methods", "405")
    for number in range(50):
        observe_request(f"BREW{number}", "/methods", 405, 0.1)
    assert count_of("_OTHER", "/methods", "405") - before == 50
    assert count_of("BREW1", "/methods", "405") == 0


def test_requests_in_flight_are_read_when_the_gauge_is() -> None:
    before = REGISTRY.get_sample_value("http_server_active_requests")
    assert before is not None
    requests_in_flight.begin()
    requests_in_flight.begin()
    assert REGISTRY.get_sample_value("http_server_active_requests") == before + 2
    requests_in_flight.end()
    requests_in_flight.end()
    assert REGISTRY.get_sample_value("http_server_active_requests") == before


async def test_the_page_is_prometheus_text(client: httpx2.AsyncClient) -> None:
    await client.get("/nowhere")
    response = await client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=")
    families = {family.name: family for family in text_string_to_metric_families(response.text)}
    assert families[NAME].type == "histogram"
    routes = {sample.labels["route"] for sample in families[NAME].samples}
    assert "unmatched" in routes
    assert "/nowhere" not in routes


OPEN_METRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
TEXT = "text/plain; version=0.0.4; charset=utf-8"
PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;"
    "q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
    "application/openmetrics-text;version=0.0.1;q=0.4,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
)
PROMETHEUS_3_PROTOBUF = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;"
    f"q=0.6,{PROMETHEUS_3}"
)


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", TEXT),
        ("*/*", TEXT),
        ("text/html,application/xhtml+xml,*/*;q=0.8", TEXT),
        (PROMETHEUS_2, f"{OPEN_METRICS}; escaping=underscores"),
        (PROMETHEUS_3, f"{OPEN_METRICS}; escaping=allow-utf-8"),
        (PROMETHEUS_3_PROTOBUF, f"{OPEN_METRICS}; escaping=allow-utf-8"),
        ("application/openmetrics-text", OPEN_METRICS),
        ("Application/OpenMetrics-Text ; Version=1.0.0", f"{OPEN_METRICS}; escaping=underscores"),
        ("text/plain;version=1.0.0", f"{TEXT.replace('0.0.4', '1.0.0')}; escaping=underscores"),
        ("text/plain;q=0.5, application/openmetrics-text", OPEN_METRICS),
        ("application/openmetrics-text;q=0", TEXT),
        # what is liked less, not at all, or cannot be written
        ("text/plain, application/openmetrics-text;q=0.5", TEXT),
        ("application/openmetrics-text;q=0, */*;q=0.1", TEXT),
        ("application/openmetrics-text;version=0.0.1", TEXT),
        ("application/openmetrics-text;version=2.0.0, text/plain;q=0.1", TEXT),
        ("application/openmetrics-text;version=new", TEXT),
        ("application/openmetrics-text;q=much", TEXT),
        (";;q,=,", TEXT),
    ],
)
def test_the_format_is_the_acceptable_one_of_the_highest_quality(
    accept: str, content_type: str
) -> None:
    assert choose_format(accept)[1] == content_type


async def test_openmetrics_has_the_same_metrics(client: httpx2.AsyncClient) -> None:
    await client.get("/nowhere")
    response = await client.get("/metrics", headers={"accept": PROMETHEUS_3})
    assert response.headers["content-type"] == f"{OPEN_METRICS}; escaping=allow-utf-8"
    assert "accept" in response.headers["vary"].lower()
    families = {family.name: family for family in open_metrics(response.text)}  # type: ignore[no-untyped-call]
    assert families[NAME].type == "histogram"
    counter = families["log_lines_dropped"]
    assert counter.type == "counter"
    assert {sample.name for sample in counter.samples} == {"log_lines_dropped_total"}


async def test_no_series_tells_when_another_was_made(client: httpx2.AsyncClient) -> None:
    for accept in ("", PROMETHEUS_3):
        shown = (await client.get("/metrics", headers={"accept": accept})).text
        assert "_total" in shown
        assert "_created" not in shown


def test_a_counter_has_its_suffix_once_in_every_format() -> None:
    registry = CollectorRegistry()
    Counter("visits_total", "Visits.", registry=registry).inc()
    for accept in ("", PROMETHEUS_2, PROMETHEUS_3):
        encode, _ = choose_format(accept)
        lines = encode(registry).decode().splitlines()
        assert [line for line in lines if not line.startswith("#")] == ["visits_total 1.0"]


async def test_an_observation_of_a_recorded_trace_leads_to_it(client: httpx2.AsyncClient) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    observe_request("GET", "/traced", 200, 0.2)
    observe_request("GET", "/traced", 200, 0.02, trace_id=trace)
    text = (await client.get("/metrics")).text
    assert trace not in text
    shown = (await client.get("/metrics", headers={"accept": PROMETHEUS_3})).text
    found = [
        (sample.labels["le"], sample.exemplar)
        for family in open_metrics(shown)  # type: ignore[no-untyped-call]
        for sample in family.samples
        if sample.exemplar is not None and sample.labels["route"] == "/traced"
    ]
    ((bucket, exemplar),) = found
    assert bucket == "0.025"
    assert exemplar.labels == {"trace_id": trace}
    assert exemplar.value == 0.02


PROGRAM = """
import asyncio
import sys

from starlette.requests import Request

from service_platform.metrics import (
    log_lines_dropped, metrics_routes, observe_request, requests_in_flight
)

requests_in_flight.begin()
log_lines_dropped.inc()
observe_request("GET", "/shared", 200, 0.1, trace_id="0af7651916cd43dd8448eb211c80319c")
if sys.argv[1:2] == ["show"]:
    (route,) = metrics_routes()
    headers = [(b"accept", sys.argv[2].encode())]
    request = Request({"type": "http", "headers": headers})
    print(asyncio.run(route.endpoint(request)).body.decode(), end="")
"""


@pytest.mark.parametrize("accept", ["text/plain", PROMETHEUS_3], ids=["text", "openmetrics"])
def test_several_processes_answer_as_one(tmp_path: Path, accept: str) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "PROMETHEUS_MULTIPROC_DIR": str(tmp_path),
        "PYTHONPATH": ":".join(sys.path),
    }
    shown = ""
    for arguments in ([], [], ["show", accept]):
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", PROGRAM, *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        shown = done.stdout
    assert f'{NAME}_count{{method="GET",route="/shared",status="200"}} 3.0' in shown
    assert "http_server_active_requests 3.0" in shown
    assert "\nlog_lines_dropped_total 3.0" in shown
    parse = open_metrics if accept == PROMETHEUS_3 else text_string_to_metric_families
    assert "log_lines_dropped" in {family.name for family in parse(shown)}
