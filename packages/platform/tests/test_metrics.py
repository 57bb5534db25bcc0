"""Metrics of requests, as Prometheus reads them."""

import os
import subprocess
import sys
from pathlib import Path

import httpx2
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from service_platform.metrics import observe_request, requests_in_flight

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


PROGRAM = """
import asyncio
import sys

from service_platform.metrics import metrics_routes, observe_request, requests_in_flight

requests_in_flight.begin()
observe_request("GET", "/shared", 200, 0.1)
if sys.argv[1:] == ["show"]:
    (route,) = metrics_routes()
    print(asyncio.run(route.endpoint(None)).body.decode())
"""


def test_several_processes_answer_as_one(tmp_path: Path) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "PROMETHEUS_MULTIPROC_DIR": str(tmp_path),
        "PYTHONPATH": ":".join(sys.path),
    }
    shown = ""
    for arguments in ([], [], ["show"]):
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
