"""The collector, Jaeger, and what the services are told about them."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from tests.infra.conftest import (
    SERVICES,
    WORKLOADS,
    Objects,
    environment_of,
    files_of,
    objects_of,
    overlay,
)

from devtools import manifests
from devtools.manifests import K8S, Rendered, render
from devtools.workspace import workspace

OVERLAYS = ("dev", "tilt", "production")
Document = dict[str, Any]


@pytest.fixture(params=OVERLAYS)
def rendered(request: pytest.FixtureRequest) -> Rendered:
    return overlay(request.param)


@pytest.fixture
def objects(rendered: Rendered) -> Objects:
    return objects_of(rendered)


def combined(directory: Path, *components: str) -> Rendered:
    """The base with components, as an overlay that nobody has written."""
    relative = Path(os.path.relpath(K8S, directory.resolve()))
    kustomization = {
        "namespace": workspace().namespace,
        "resources": [str(relative / "base")],
        "components": [str(relative / "components" / each) for each in components],
        "images": [
            {"name": workspace().image(each), "digest": f"sha256:{'0' * 64}"} for each in SERVICES
        ],
    }
    (directory / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return render(directory)


def pod_of(objects: Objects, workload: str) -> Document:
    pod: Document = objects["Deployment", workload]["spec"]["template"]["spec"]
    return pod


def container_of(objects: Objects, workload: str) -> Document:
    (container,) = pod_of(objects, workload)["containers"]
    return dict(container)


def configuration(objects: Objects, workload: str) -> Document:
    """What a collector (Jaeger is one, too) makes of its files, each laid over the one before."""
    container, pod = container_of(objects, workload), pod_of(objects, workload)
    (mount,) = [each for each in container["volumeMounts"] if each["name"] == "config"]
    (volume,) = [each for each in pod["volumes"] if each["name"] == "config"]
    files = files_of(objects, "ConfigMap", volume["configMap"]["name"])
    merged: Document = {}
    for argument in container["args"]:
        path = argument.removeprefix("--config=")
        assert path.startswith(f"{mount['mountPath']}/")
        merged = laid_over(merged, yaml.safe_load(files[path.rpartition("/")[2]]))
    return merged


def laid_over(below: Document, above: Document) -> Document:
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = laid_over(merged[key], value) if both else value
    return merged


def collectors(rendered: Rendered) -> list[str]:
    return ["otel-collector"] if rendered.name == "production" else ["otel-collector", "jaeger"]


# --- the component --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "others",
    [
        (),
        ("telemetry/token",),
        ("availability", "gateway", "monitoring", "network-policies"),
        ("hot-reload", "postgres", "valkey", "ingress", "telemetry/token"),
    ],
)
def test_it_goes_with_the_other_components(tmp_path: Path, others: tuple[str, ...]) -> None:
    found = combined(tmp_path, "telemetry", *others, *manifests.ALWAYS)
    assert list(manifests.validate([found])) == []
    assert list(manifests.duplicates([found])) == []


def test_without_it_no_service_is_told_to_export(tmp_path: Path) -> None:
    others = ("availability", "monitoring", "network-policies")
    objects = objects_of(combined(tmp_path, *others, *manifests.ALWAYS))
    assert {name for kind, name in objects if kind == "Deployment"} == set(WORKLOADS)
    for service in WORKLOADS:
        container = container_of(objects, service)
        assert not [name for name in environment_of(objects, container) if "OTEL" in name]
        assert "env" not in container


# --- what the services are told -------------------------------------------------------------------


@pytest.mark.parametrize("service", WORKLOADS)
def test_a_service_exports_to_the_collector(objects: Objects, service: str) -> None:
    variables = environment_of(objects, container_of(objects, service))
    assert variables["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://otel-collector:4318"
    (port,) = [
        each
        for each in objects["Service", "otel-collector"]["spec"]["ports"]
        if each["port"] == 4318
    ]
    (listening,) = [
        each
        for each in container_of(objects, "otel-collector")["ports"]
        if each["name"] == port["targetPort"]
    ]
    assert listening["containerPort"] == 4318


@pytest.mark.parametrize("service", WORKLOADS)
def test_a_migration_exports_nothing(objects: Objects, service: str) -> None:
    for container in pod_of(objects, service)["initContainers"]:
        assert not [name for name in environment_of(objects, container) if "OTEL" in name]


SAYS_WHAT_THE_SDK_READ = """
from opentelemetry.sdk.resources import OTELResourceDetector
from opentelemetry.sdk.trace import TracerProvider
print(TracerProvider().sampler.get_description())
print(dict(OTELResourceDetector().detect().attributes))
"""


@pytest.mark.parametrize(
    ("name", "sampler"),
    [("dev", "ParentBased{root:AlwaysOnSampler"), ("production", "TraceIdRatioBased{0.05}")],
)
def test_the_sdk_understands_the_variables(name: str, sampler: str) -> None:
    objects = objects_of(overlay(name))
    variables = environment_of(objects, container_of(objects, "users"))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SAYS_WHAT_THE_SDK_READ],
        env={key: value for key, value in variables.items() if key.startswith("OTEL_")},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    read, attributes = done.stdout.splitlines()
    assert done.stderr == ""
    assert sampler in read
    assert read.startswith("ParentBased{")
    environment = {"dev": "development"}.get(name, name)
    assert f"'deployment.environment.name': '{environment}'" in attributes
    for attribute in ("k8s.pod.name", "k8s.namespace.name"):
        assert f"'{attribute}': '" in attributes
    assert "$" not in attributes


def test_what_jaeger_does_not_take_is_not_exported(objects: Objects, rendered: Rendered) -> None:
    """And what Prometheus scrapes is not exported a second time."""
    assert "metrics" not in JAEGER_TAKES
    for service in WORKLOADS:
        variables = environment_of(objects, container_of(objects, service))
        assert variables["OTEL_METRICS_EXPORTER"] == "none"


JAEGER_TAKES = ("traces",)


# --- how a collector is configured ----------------------------------------------------------------


def test_every_part_of_a_pipeline_is_there_and_every_part_is_in_a_pipeline(
    objects: Objects, rendered: Rendered
) -> None:
    for workload in collectors(rendered):
        settings = configuration(objects, workload)
        pipelines = settings["service"]["pipelines"].values()
        for part in ("receivers", "processors", "exporters"):
            used = {name for pipeline in pipelines for name in pipeline[part]}
            assert used == set(settings[part]), (workload, part)
        assert set(settings["service"]["extensions"]) == set(settings["extensions"]), workload
        assert set(settings) == {"receivers", "processors", "exporters", "extensions", "service"}


def test_nothing_opens_a_page_for_debugging(objects: Objects, rendered: Rendered) -> None:
    for workload in collectors(rendered):
        kinds = {name.partition("/")[0] for name in configuration(objects, workload)["extensions"]}
        assert not kinds & {"zpages", "pprof", "expvar"}


def test_the_collector_watches_its_memory_first_and_gathers_last(objects: Objects) -> None:
    settings = configuration(objects, "otel-collector")
    assert set(settings["service"]["pipelines"]) == {"traces", "metrics"}
    for pipeline in settings["service"]["pipelines"].values():
        assert pipeline["processors"] == ["memory_limiter", "batch"]


def test_a_collector_listens_where_its_ports_and_probes_are(
    objects: Objects, rendered: Rendered
) -> None:
    for workload in collectors(rendered):
        settings = configuration(objects, workload)
        container = container_of(objects, workload)
        listening = {int(port) for port in re.findall(r"0\.0\.0\.0:(\d+)", yaml.dump(settings))}
        if workload == "otel-collector":
            (reader,) = settings["service"]["telemetry"]["metrics"]["readers"]
            prometheus = reader["pull"]["exporter"]["prometheus"]
            assert prometheus["host"] == "0.0.0.0"
            listening.add(prometheus["port"])
        named = {port["name"]: port["containerPort"] for port in container["ports"]}
        assert listening == set(named.values()), workload
        health = (
            settings["extensions"].get("health_check")
            or (settings["extensions"]["healthcheckv2"]["http"])
        )
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            port = container[probe]["httpGet"]["port"]
            assert health["endpoint"] == f"0.0.0.0:{named[port]}"


def test_a_service_leads_to_ports_that_are_there(objects: Objects, rendered: Rendered) -> None:
    for workload in collectors(rendered):
        named = {each["name"] for each in container_of(objects, workload)["ports"]}
        ports = objects["Service", workload]["spec"]["ports"]
        assert {port["targetPort"] for port in ports} == named - {"health"}


def test_the_configuration_asks_for_variables_that_the_container_has(
    objects: Objects, rendered: Rendered
) -> None:
    for workload in collectors(rendered):
        asked = set(re.findall(r"\$\{env:(\w+)", yaml.dump(configuration(objects, workload))))
        assert asked <= set(environment_of(objects, container_of(objects, workload)))
    exporter = configuration(objects, "otel-collector")["exporters"]["otlp_http/backend"]
    assert exporter["endpoint"] == "${env:OTLP_BACKEND_ENDPOINT}"


def mebibytes(text: str) -> int:
    (number,) = re.fullmatch(r"(\d+)(?:Mi|MiB)", text).groups()  # type: ignore[union-attr]
    return int(number)


def test_garbage_is_collected_before_the_kernel_ends_the_process(
    objects: Objects, rendered: Rendered
) -> None:
    for workload in collectors(rendered):
        container = container_of(objects, workload)
        limit = mebibytes(container["resources"]["limits"]["memory"])
        soft = mebibytes(environment_of(objects, container)["GOMEMLIMIT"])
        assert 0.75 * limit < soft <= 0.9 * limit, workload
    limiter = configuration(objects, "otel-collector")["processors"]["memory_limiter"]
    assert limiter["limit_percentage"] <= 80


def test_what_waits_for_the_backend_fits_into_the_memory(objects: Objects) -> None:
    """At a kilobyte a span, which is much for these services."""
    settings = configuration(objects, "otel-collector")
    queue = settings["exporters"]["otlp_http/backend"]["sending_queue"]["queue_size"]
    waiting = queue * settings["processors"]["batch"]["send_batch_max_size"] / 1024
    limit = mebibytes(container_of(objects, "otel-collector")["resources"]["limits"]["memory"])
    assert waiting < 0.5 * limit


def test_the_collector_has_the_time_to_send_what_it_has(objects: Objects) -> None:
    pod = pod_of(objects, "otel-collector")
    pre_stop = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    timeout = configuration(objects, "otel-collector")["exporters"]["otlp_http/backend"]["timeout"]
    assert pre_stop + int(timeout.removesuffix("s")) < pod["terminationGracePeriodSeconds"]


# --- development ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["dev", "tilt"])
def test_development_sends_to_a_jaeger_that_forgets(name: str) -> None:
    objects = objects_of(overlay(name))
    collector = environment_of(objects, container_of(objects, "otel-collector"))
    assert collector["OTLP_BACKEND_ENDPOINT"] == "http://jaeger:4318"
    settings = configuration(objects, "jaeger")
    (storage,) = settings["extensions"]["jaeger_storage"]["backends"].items()
    assert storage[1]["memory"]["max_traces"] <= 10_000
    assert settings["exporters"]["jaeger_storage_exporter"]["trace_storage"] == storage[0]
    assert settings["extensions"]["jaeger_query"]["storage"] == {"traces": storage[0]}
    assert tuple(settings["service"]["pipelines"]) == JAEGER_TAKES


@pytest.mark.parametrize("name", ["dev", "tilt"])
def test_only_the_collector_reaches_jaeger(name: str) -> None:
    """Its pages have no login: they are for whoever may forward a port."""
    for (kind, _), policy in objects_of(overlay(name)).items():
        chosen = policy["spec"].get("podSelector") if kind == "NetworkPolicy" else None
        if chosen == {"matchLabels": {"app.kubernetes.io/name": "jaeger"}}:
            (rule,) = policy["spec"]["ingress"]
            assert [port["port"] for port in rule["ports"]] == ["otlp-http"]
            break
    else:
        pytest.fail("no policy is about Jaeger")


# --- production -----------------------------------------------------------------------------------


@pytest.fixture
def production() -> Objects:
    return objects_of(overlay("production"))


def test_production_sends_over_tls_with_a_token_from_a_file(production: Objects) -> None:
    container = container_of(production, "otel-collector")
    variables = environment_of(production, container)
    assert variables["OTLP_BACKEND_ENDPOINT"].startswith("https://")
    settings = configuration(production, "otel-collector")
    exporter = settings["exporters"]["otlp_http/backend"]
    assert "tls" not in exporter  # the machine's authorities are asked
    authenticator = settings["extensions"][exporter["auth"]["authenticator"]]
    mounted = {each["mountPath"]: each["name"] for each in container["volumeMounts"]}
    directory, _, key = authenticator["filename"].rpartition("/")
    (volume,) = [
        each
        for each in pod_of(production, "otel-collector")["volumes"]
        if each["name"] == mounted[directory]
    ]
    assert key == "token"
    assert volume["secret"] == {"secretName": "otel-collector-secrets", "defaultMode": 0o440}


def test_production_has_a_collector_while_a_node_is_drained(production: Objects) -> None:
    deployment = production["Deployment", "otel-collector"]
    assert deployment["spec"]["replicas"] >= 2
    budget = production["PodDisruptionBudget", "otel-collector"]["spec"]
    assert budget["maxUnavailable"] == 1
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert budget["selector"]["matchLabels"].items() <= labels.items()


def test_production_has_no_jaeger_and_leads_nobody_to_the_collector(production: Objects) -> None:
    assert not [name for kind, name in production if name.startswith("jaeger")]
    for (kind, _), route in production.items():
        if kind == "HTTPRoute":
            assert "otel-collector" not in yaml.dump(route)


def test_prometheus_scrapes_the_collector(production: Objects) -> None:
    service = production["Service", "otel-collector"]
    monitor = production["ServiceMonitor", "otel-collector"]["spec"]
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["jobLabel"] in service["metadata"]["labels"]
    (endpoint,) = monitor["endpoints"]
    ports = {port["name"]: port["port"] for port in service["spec"]["ports"]}
    (reader,) = configuration(production, "otel-collector")["service"]["telemetry"]["metrics"][
        "readers"
    ]
    assert ports[endpoint["port"]] == reader["pull"]["exporter"]["prometheus"]["port"]
