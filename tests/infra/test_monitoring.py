"""Alerts, objectives and dashboard speak of metrics that the code has, and of docs that exist."""

import json
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import prometheus_client
import promql_parser
import pytest
import yaml  # type: ignore[import-untyped]

from devtools.manifests import K8S

MONITORING = K8S / "components/monitoring"
OPERATE = Path(__file__).parents[2] / "docs/operate.md"
DEFINING_MODULES = (
    "service_platform.metrics",
    "service_platform.database.pool",
    "service_platform.http_circuit_breaker",
    "service_platform.http_client",
    "service_platform.events.metrics",
    "service_platform.identity.jwks_client",
    "service_platform.identity.token_verifier",
    "service_platform.jobs.metrics",
    "service_platform.ratelimit.metrics",
    "service_platform.runtime.event_loop_lag",
    "service_platform.runtime.garbage_collection",
    "service_platform.telemetry.span_export",
    "auth.passwords",
)
# Not ours: Prometheus' own, those of its client library (Linux), and the collector's.
FOREIGN = {
    "up",
    "process_cpu_seconds_total",
    "process_open_fds",
    "process_resident_memory_bytes",
    "otelcol_exporter_enqueue_failed_spans_total",
    "otelcol_exporter_send_failed_spans_total",
    "otelcol_exporter_sent_spans_total",
    "otelcol_receiver_accepted_spans_total",
}
# What the operator adds to every series of a pod.
LABELS_OF_THE_TARGET = {"container", "endpoint", "instance", "job", "namespace", "pod", "service"}
# Added by the scrape, or by the histogram.
LABELS_OF_THE_SCRAPE = {"job", "namespace", "pod", "le"}


def rules() -> Iterator[dict[str, Any]]:
    for name in ("objectives.yaml", "alerts.yaml"):
        for group in yaml.safe_load((MONITORING / name).read_text())["spec"]["groups"]:
            yield from group["rules"]


def panels() -> list[dict[str, Any]]:
    dashboard = json.loads((MONITORING / "dashboard.json").read_text())
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def expressions() -> list[str]:
    written = [target["expr"] for panel in panels() for target in panel["targets"]]
    variables = {"$__rate_interval": "5m", "$namespace": "services", "$service": ".+"}
    for name, value in variables.items():
        written = [expression.replace(name, value) for expression in written]
    return [*(rule["expr"] for rule in rules()), *written]


ALERTS = [rule for rule in rules() if "alert" in rule]


def selectors(expression: str) -> list[promql_parser.VectorSelector]:
    found: list[promql_parser.VectorSelector] = []

    def visit(part: Any) -> bool:
        if isinstance(part, promql_parser.MatrixSelector):
            found.append(part.vector_selector)
        elif isinstance(part, promql_parser.VectorSelector):
            found.append(part)
        return True

    promql_parser.walk(promql_parser.parse(expression), visit)
    return found


@pytest.fixture(scope="module")
def metrics() -> dict[str, set[str]]:
    """Every name that /metrics can have, with its labels."""
    for module in DEFINING_MODULES:
        import_module(module)
    collectors = prometheus_client.REGISTRY._names_to_collectors
    ours = {name: set(getattr(each, "_labelnames", ())) for name, each in collectors.items()}
    recorded: dict[str, set[str]] = {rule["record"]: set() for rule in rules() if "record" in rule}
    return ours | recorded | {name: set() for name in FOREIGN}


@pytest.mark.parametrize("expression", expressions())
def test_an_expression_asks_for_metrics_and_labels_that_exist(
    expression: str, metrics: dict[str, set[str]]
) -> None:
    asked = selectors(expression)
    assert asked
    for selector in asked:
        assert selector.name in metrics
        labels = {matcher.name for matcher in selector.matchers.matchers}
        assert labels <= metrics[selector.name] | LABELS_OF_THE_SCRAPE


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_an_alert_says_who_acts_and_where_it_is_written_how(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in {"page", "ticket", "info"}
    assert {"summary", "description", "runbook"} == set(alert["annotations"])
    assert alert["annotations"]["runbook"] == f"docs/operate.md#{alert['alert'].lower()}"
    assert re.search(rf"^### {alert['alert']}$", OPERATE.read_text(), re.MULTILINE)


def test_no_section_is_left_of_an_alert_that_is_gone() -> None:
    alerts = {alert["alert"] for alert in ALERTS}
    section = OPERATE.read_text().partition("## Alerts")[2]
    assert set(re.findall(r"^### (\w+)$", section, re.MULTILINE)) == alerts


def test_the_latency_objective_is_a_bucket() -> None:
    from service_platform.metrics import DURATION_BUCKETS  # noqa: PLC0415

    asked = {
        float(matcher.value)
        for rule in rules()
        for selector in selectors(rule["expr"])
        for matcher in selector.matchers.matchers
        if matcher.name == "le"
    }
    assert asked <= set(DURATION_BUCKETS)
    assert asked


def test_the_dashboard_shows_every_kind_of_signal() -> None:
    shown = " ".join(target["expr"] for panel in panels() for target in panel["targets"])
    for metric in (
        "http_server", "rate_limit", "events_", "jobs_", "identity_", "process_", "python_gc",
        "event_loop", "http_client", "database_pool", "telemetry_", "otelcol_",
    ):  # fmt: skip
        assert metric in shown
    assert len({panel["id"] for panel in panels()}) == len(panels())


def test_no_label_of_ours_is_pushed_aside_by_one_of_the_target(
    metrics: dict[str, set[str]],
) -> None:
    """Prometheus would rename it to `exported_…`, and no expression would find it."""
    (monitor, _) = yaml.safe_load_all((MONITORING / "service-monitor.yaml").read_text())
    (endpoint,) = monitor["spec"]["endpoints"]
    dropped = {
        label
        for rule in endpoint["relabelings"]
        if rule["action"] == "labeldrop"
        for label in LABELS_OF_THE_TARGET
        if re.fullmatch(rule["regex"], label)
    }
    ours = {label for labels in metrics.values() for label in labels}
    assert not ours & (LABELS_OF_THE_TARGET - dropped)
    assert not dropped & LABELS_OF_THE_SCRAPE


def test_the_latency_of_requests_leads_to_their_traces() -> None:
    dashboard = json.loads((MONITORING / "dashboard.json").read_text())
    variables = {each["name"]: each for each in dashboard["templating"]["list"]}
    assert variables["traces"]["type"] == "datasource"
    (search,) = dashboard["links"]
    assert "${traces}" in search["url"]
    shown = 0
    for panel in panels():
        latency = [
            target
            for target in panel["targets"]
            if "http_server_request_duration_seconds_bucket" in target["expr"]
        ]
        if not latency:
            assert not any(target.get("exemplar") for target in panel["targets"])
            continue
        assert all(target["exemplar"] for target in latency)
        (link,) = [
            link
            for override in panel["fieldConfig"]["overrides"]
            if override["matcher"] == {"id": "byName", "options": "trace_id"}
            for each in override["properties"]
            if each["id"] == "links"
            for link in each["value"]
        ]
        asked = parse_qs(urlsplit(link["url"]).query)["left"][0]
        explored = json.loads(asked)
        assert explored["datasource"] == "${traces}"
        assert explored["queries"] == [{"refId": "A", "query": "${__value.raw}"}]
        shown += 1
    assert shown == 2


def test_no_panel_lies_on_another() -> None:
    dashboard = json.loads((MONITORING / "dashboard.json").read_text())
    taken: dict[tuple[int, int], str] = {}
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"]
