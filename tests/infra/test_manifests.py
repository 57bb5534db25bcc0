"""What every rendered manifest must hold, whichever overlay it comes from."""

import base64
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from tests.infra.conftest import SERVICES, WORKLOADS

from devtools import manifests
from devtools.derived.files import own_problems
from devtools.manifests import ALWAYS, CHOICES, K8S, Rendered, render
from devtools.project import ROOT
from devtools.workspace import workspace
from service_testing.declarations import declarations

DECLARED = {each.name: each for each in declarations()}
OVERLAYS = ("dev", "tilt", "production")
Document = dict[str, Any]


@pytest.fixture(scope="module", params=OVERLAYS)
def overlay(request: pytest.FixtureRequest) -> Rendered:
    return render(K8S / "overlays" / request.param)


@pytest.fixture(scope="module")
def dev() -> Rendered:
    return render(K8S / "overlays/dev")


@pytest.fixture(scope="module")
def production() -> Rendered:
    return render(K8S / "overlays/production")


def of_kind(rendered: Rendered, *kinds: str) -> list[Document]:
    return [each for each in rendered.documents if each["kind"] in kinds]


def named(rendered: Rendered, kind: str, name: str) -> Document:
    (found,) = [each for each in of_kind(rendered, kind) if each["metadata"]["name"] == name]
    return found


def pods(rendered: Rendered) -> Iterator[tuple[str, Document]]:
    for each in of_kind(rendered, "Deployment", "StatefulSet"):
        yield each["metadata"]["name"], each["spec"]["template"]


def service_pods(rendered: Rendered) -> Iterator[tuple[str, Document]]:
    for name, template in pods(rendered):
        if template["metadata"]["labels"]["app.kubernetes.io/component"] in {"service", "worker"}:
            yield name, template["spec"]


def containers(pod: Document) -> list[Document]:
    return [*pod.get("initContainers", []), *pod["containers"]]


# --- the renderer and its checks ------------------------------------------------------------------


def test_every_component_is_part_of_a_combination() -> None:
    listed = {name for choice in CHOICES for alternative in choice for name in alternative}
    # The base includes service-defaults; test_telemetry.py combines telemetry with the others, and
    # devtools' tests of what services declare have a worker to scale by its queue.
    listed |= {*ALWAYS, "service-defaults", "telemetry", "queue-autoscaling"}
    assert listed == {
        path.parent.name for path in (K8S / "components").glob("*/kustomization.yaml")
    }


def test_every_overlay_is_valid_for_every_supported_kubernetes(overlay: Rendered) -> None:
    assert list(manifests.validate([overlay])) == []
    assert list(manifests.duplicates([overlay])) == []


def test_an_unknown_field_is_found(dev: Rendered) -> None:
    broken = yaml.safe_load(yaml.safe_dump(named(dev, "Deployment", "users")))
    broken["spec"]["template"]["spec"]["containers"][0]["securityContexts"] = {}
    problems = list(manifests.validate([Rendered("broken", (broken,))]))
    assert len(problems) == len(manifests.KUBERNETES_VERSIONS)
    assert "'securityContexts' was unexpected" in problems[0]


@pytest.mark.parametrize("kind", ["HTTPRoute", "Gateway", "ServiceMonitor", "PrometheusRule"])
def test_an_unknown_field_of_a_custom_resource_is_found(production: Rendered, kind: str) -> None:
    broken = {**of_kind(production, kind)[0]}
    broken["spec"] = {**broken["spec"], "unheardOf": 1}
    (problem,) = manifests.validate([Rendered("broken", (broken,))])
    assert "unheardOf" in problem


def test_a_kind_without_a_schema_is_a_problem() -> None:
    document = {"apiVersion": "example.com/v1", "kind": "Riddle", "metadata": {"name": "x"}}
    problems = list(manifests.validate([Rendered("broken", (document,))]))
    assert all("unknown to Kubernetes" in problem for problem in problems)
    assert problems


def test_a_kustomization_that_warns_is_refused(tmp_path: Path) -> None:
    (tmp_path / "kustomization.yaml").write_text("commonLabels: {a: b}\n")
    with pytest.raises(manifests.ManifestError, match="kustomize says"):
        render(tmp_path)


def test_every_service_of_the_workspace_is_deployed(overlay: Rendered) -> None:
    assert {name for name, _ in service_pods(overlay)} == set(WORKLOADS)


def test_nothing_else_runs_but_data_and_telemetry(overlay: Rendered) -> None:
    others = {name for name, _ in pods(overlay)} - set(WORKLOADS)
    in_the_cluster = {"postgres", "valkey", "jaeger"} if overlay.name != "production" else set()
    assert others == {"otel-collector"} | in_the_cluster


# --- pods -----------------------------------------------------------------------------------------


def test_objects_bear_the_name_of_the_workspace(overlay: Rendered) -> None:
    (namespace,) = of_kind(overlay, "Namespace")
    production = overlay.name == "production"
    declared = workspace().namespace if production else workspace().dev_namespace
    assert namespace["metadata"]["name"] == declared
    for name, pod in service_pods(overlay):
        service = name.removesuffix("-worker")
        image = workspace().published_image(service) if production else workspace().image(service)
        assert all(each["image"].startswith((f"{image}:", f"{image}@")) for each in containers(pod))
    labels = [template["metadata"]["labels"] for _, template in pods(overlay)]
    parts = {each.get("app.kubernetes.io/part-of", workspace().name) for each in labels}
    assert parts == {workspace().name}


def test_the_namespace_enforces_the_restricted_standard(overlay: Rendered) -> None:
    (namespace,) = of_kind(overlay, "Namespace")
    labels = namespace["metadata"]["labels"]
    for mode in ("enforce", "audit", "warn"):
        assert labels[f"pod-security.kubernetes.io/{mode}"] == "restricted"
    assert all(
        each["metadata"]["namespace"] == namespace["metadata"]["name"]
        for each in overlay.documents
        if each is not namespace
    )


def test_every_pod_meets_the_restricted_standard(overlay: Rendered) -> None:
    """The rules of the restricted Pod Security Standard, one by one."""
    for name, template in pods(overlay):
        pod = template["spec"]
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod), name
        allowed = {"configMap", "emptyDir", "secret", "persistentVolumeClaim", "name"}
        assert all(set(volume) <= allowed for volume in pod["volumes"]), name
        security = pod["securityContext"]
        assert security["runAsNonRoot"] is True
        assert security["runAsUser"] > 0
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in containers(pod):
            own = container["securityContext"]
            assert own["allowPrivilegeEscalation"] is False
            assert own["capabilities"] == {"drop": ["ALL"]}
            assert own["readOnlyRootFilesystem"] is True
            assert not {"privileged", "runAsUser", "procMount"} & set(own)
            assert not any("hostPort" in port for port in container.get("ports", []))


def test_services_run_as_the_user_of_their_image(overlay: Rendered) -> None:
    dockerfile = (manifests.K8S.parent / "docker/Dockerfile").read_text()
    user = int(re.findall(r"^USER (\d+):(\d+)$", dockerfile, re.MULTILINE)[-1][0])
    for _, pod in service_pods(overlay):
        security = pod["securityContext"]
        assert {security["runAsUser"], security["runAsGroup"], security["fsGroup"]} == {user}


def test_no_pod_gets_a_token_of_the_cluster(overlay: Rendered) -> None:
    for name, template in pods(overlay):
        assert template["spec"]["automountServiceAccountToken"] is False, name
    for deployment in of_kind(overlay, "Deployment"):
        name = deployment["metadata"]["name"]
        assert deployment["spec"]["template"]["spec"]["serviceAccountName"] == name
        assert named(overlay, "ServiceAccount", name)["automountServiceAccountToken"] is False


def test_memory_is_requested_as_limited_and_the_processor_is_not_limited(overlay: Rendered) -> None:
    for name, template in pods(overlay):
        for container in containers(template["spec"]):
            requests, limits = (container["resources"][each] for each in ("requests", "limits"))
            assert requests["memory"] == limits["memory"], name
            assert "cpu" in requests
            assert "cpu" not in limits
            assert {"ephemeral-storage"} <= requests.keys() & limits.keys()


def test_every_volume_in_memory_or_on_the_node_is_bounded(overlay: Rendered) -> None:
    for name, template in pods(overlay):
        for volume in template["spec"]["volumes"]:
            assert "emptyDir" not in volume or volume["emptyDir"]["sizeLimit"], name


def test_probes_ask_their_own_paths(overlay: Rendered) -> None:
    expected = {
        "startupProbe": "/health/startup",
        "livenessProbe": "/health/live",
        "readinessProbe": "/health/ready",
    }
    if overlay.name == "tilt":
        # Live reload: a syntax error that stays for a while must not restart the container.
        expected = {"readinessProbe": "/health/ready"}
    for name, pod in service_pods(overlay):
        (container,) = pod["containers"]
        asked = {
            key: probe["httpGet"]["path"]
            for key, probe in container.items()
            if key.endswith("Probe")
        }
        assert asked == expected, name


def test_a_rollout_never_has_fewer_pods_than_before(overlay: Rendered) -> None:
    for each in of_kind(overlay, "Deployment"):
        assert each["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


def test_the_schema_is_brought_up_to_date_before_a_pod_starts(overlay: Rendered) -> None:
    for _, pod in service_pods(overlay):
        (migrate,) = pod["initContainers"]
        assert "service_platform.database.migrate" in migrate["command"][-1]
        assert migrate["image"] == pod["containers"][0]["image"]
        read = [source["configMapRef"]["name"] for source in pod["containers"][0]["envFrom"]]
        only_the_server = [name for name in read if name.startswith("telemetry-config-")]
        assert [source["configMapRef"]["name"] for source in migrate["envFrom"]] == [
            name for name in read if name not in only_the_server
        ]


def test_secrets_come_as_files_where_the_settings_look_for_them(overlay: Rendered) -> None:
    for name, pod in service_pods(overlay):
        for container in containers(pod):
            assert not any("secretRef" in source for source in container["envFrom"])
            mounted = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
            configuration = container["envFrom"][0]["configMapRef"]["name"]
            data = named(overlay, "ConfigMap", configuration)["data"]
            assert mounted["secrets"] == data["SECRETS_DIR"], name
        (secrets,) = [each["secret"] for each in pod["volumes"] if each["name"] == "secrets"]
        assert secrets["defaultMode"] == 0o440


def test_configuration_is_immutable_and_named_by_its_content(overlay: Rendered) -> None:
    """A change makes a new name, hence a rollout; the old pods keep what they were started with."""
    for each in of_kind(overlay, "ConfigMap", "Secret"):
        if "grafana_dashboard" in each["metadata"].get("labels", {}):
            continue  # no pod of ours uses it
        assert each["immutable"] is True
        assert re.search(r"-[a-z0-9]{10}$", each["metadata"]["name"])


def test_every_reference_within_an_overlay_exists(overlay: Rendered) -> None:
    """Production's Secrets are made by hand beforehand and are the exception."""
    there = {(each["kind"], each["metadata"]["name"]) for each in overlay.documents}
    for name, template in pods(overlay):
        pod = template["spec"]
        used = {
            ("ConfigMap", source["configMapRef"]["name"])
            for container in containers(pod)
            for source in container.get("envFrom", [])
        }
        used |= {
            ("ConfigMap", variable["valueFrom"]["configMapKeyRef"]["name"])
            for container in containers(pod)
            for variable in container.get("env", [])
            if "configMapKeyRef" in variable.get("valueFrom", {})
        }
        for volume in pod["volumes"]:
            if "configMap" in volume:
                used.add(("ConfigMap", volume["configMap"]["name"]))
            if "secret" in volume and overlay.name != "production":
                used.add(("Secret", volume["secret"]["secretName"]))
        assert used <= there, name


# --- network --------------------------------------------------------------------------------------


def test_nothing_may_talk_unless_a_policy_says_so(overlay: Rendered) -> None:
    policy = named(overlay, "NetworkPolicy", "default-deny")["spec"]
    assert policy == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def selects(selector: Document, labels: dict[str, str]) -> bool:
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    return all(
        (labels.get(each["key"]) in each["values"]) == (each["operator"] == "In")
        for each in selector.get("matchExpressions", [])
    )


def edges(rendered: Rendered) -> set[tuple[str, str, str]]:
    """Who may reach whom on which port: pods that both sides' policies let talk."""
    everyone = {name: template["metadata"]["labels"] for name, template in pods(rendered)}
    policies = [each["spec"] for each in of_kind(rendered, "NetworkPolicy")]

    def allowed(direction: str, peer_key: str) -> set[tuple[str, str, str]]:
        return {
            (own, peer, str(port["port"]))
            for policy in policies
            for rule in policy.get(direction, [])
            for port in rule["ports"]
            for other in rule[peer_key]
            if "namespaceSelector" not in other and "ipBlock" not in other
            for own, own_labels in everyone.items()
            if selects(policy["podSelector"], own_labels)
            for peer, peer_labels in everyone.items()
            if selects(other["podSelector"], peer_labels)
        }

    outgoing = allowed("egress", "to")
    incoming = {(peer, own, port) for own, peer, port in allowed("ingress", "from")}
    return outgoing & incoming


CALLS = {
    (name, called, "http")
    for by in declarations()
    for name in (by.name, *([f"{by.name}-worker"] if by.worker else []))
    for called in by.needs
}
TO_TELEMETRY = {(name, "otel-collector", "otlp-http") for name in WORKLOADS}


def test_the_edges_inside_the_cluster_are_the_real_ones(dev: Rendered) -> None:
    data = {
        (name, server, port)
        for name in WORKLOADS
        for server, port in (("postgres", "postgres"), ("valkey", "valkey"))
    }
    traces = {*TO_TELEMETRY, ("otel-collector", "jaeger", "otlp-http")}
    assert edges(dev) == data | CALLS | traces


def test_production_reaches_managed_servers_by_address_and_lets_in_gateway_and_metrics(
    production: Rendered,
) -> None:
    assert edges(production) == CALLS | TO_TELEMETRY
    data, traces = (
        named(production, "NetworkPolicy", policy)["spec"]["egress"]
        for policy in ("services-to-data", "telemetry-to-backend")
    )
    assert [rule["ports"][0]["port"] for rule in data] == [5432, 6379]
    assert [rule["ports"][0]["port"] for rule in traces] == [443]
    assert all("ipBlock" in rule["to"][0] for rule in [*data, *traces])
    for policy, port in (
        ("services-from-gateway", "http"),
        ("services-from-prometheus", "http"),
        ("telemetry-from-prometheus", "metrics"),
    ):
        (rule,) = named(production, "NetworkPolicy", policy)["spec"]["ingress"]
        assert {"namespaceSelector", "podSelector"} == set(rule["from"][0])
        assert [each["port"] for each in rule["ports"]] == [port]


def test_only_who_looks_up_names_reaches_the_resolver(overlay: Rendered) -> None:
    policy = named(overlay, "NetworkPolicy", "services-to-dns")["spec"]
    chosen = {
        name
        for name, template in pods(overlay)
        if selects(policy["podSelector"], template["metadata"]["labels"])
    }
    assert chosen == {*WORKLOADS, "otel-collector"}


def routed(rendered: Rendered) -> dict[str, str]:
    found = {}
    for route in of_kind(rendered, "HTTPRoute"):
        for rule in route["spec"]["rules"]:
            for match in rule.get("matches", []):
                found[match["path"]["value"]] = rule["backendRefs"][0]["name"]
    for ingress in of_kind(rendered, "Ingress"):
        for path in ingress["spec"]["rules"][0]["http"]["paths"]:
            found[path["path"]] = path["backend"]["service"]["name"]
    return found


PROBLEMS = {
    f"/problems/{slug}": service for service in SERVICES for slug in own_problems(ROOT, service)
}
PREFIXES = {f"/api/v1/{service}": service for service in SERVICES} | {
    path: service for service in SERVICES for path in DECLARED[service].paths
}
EDGE = PREFIXES | PROBLEMS


def test_every_problem_can_be_opened_where_the_edge_leads() -> None:
    for service in SERVICES:
        for slug in problems_of(service):
            leads_to = PROBLEMS.get(f"/problems/{slug}", PREFIXES["/problems"])
            assert slug in problems_of(leads_to), (slug, leads_to)


@cache
def problems_of(service: str) -> frozenset[str]:
    """Those a process of the service knows: importing another one here would add its own."""
    code = f"import {service}.app; from service_platform.errors import registry; print(*registry)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return frozenset(done.stdout.split())


def test_only_the_apis_are_reachable_from_outside(production: Rendered) -> None:
    assert routed(production) == EDGE
    for route in of_kind(production, "HTTPRoute"):
        (parent,) = route["spec"]["parentRefs"]
        only_redirects = "backendRefs" not in route["spec"]["rules"][0]
        assert parent["sectionName"] == ("http" if only_redirects else "https")


def test_the_ingress_component_routes_the_same(tmp_path: Path) -> None:
    relative = Path(*[".."] * (len(tmp_path.parts) - 1), *K8S.parts[1:])
    (tmp_path / "kustomization.yaml").write_text(
        yaml.safe_dump(
            {
                "resources": [str(relative / "base")],
                "components": [str(relative / "components/ingress")],
            }
        )
    )
    assert routed(render(tmp_path)) == EDGE


def test_a_service_selects_its_own_pods_only(overlay: Rendered) -> None:
    everyone = {name: template["metadata"]["labels"] for name, template in pods(overlay)}
    for service in of_kind(overlay, "Service"):
        selector = {"matchLabels": service["spec"]["selector"]}
        chosen = [name for name, labels in everyone.items() if selects(selector, labels)]
        assert chosen == [service["metadata"]["name"]]


# --- more than one replica ------------------------------------------------------------------------


@pytest.mark.parametrize("service", SERVICES)
def test_production_scales_and_survives_a_drained_node(production: Rendered, service: str) -> None:
    autoscaler = named(production, "HorizontalPodAutoscaler", service)["spec"]
    assert autoscaler["scaleTargetRef"]["name"] == service
    assert autoscaler["minReplicas"] >= 2
    deployment = named(production, "Deployment", service)["spec"]
    assert "replicas" not in deployment  # the autoscaler's number must survive an apply
    budget = named(production, "PodDisruptionBudget", service)["spec"]
    assert budget["maxUnavailable"] == 1
    assert budget["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
    labels = deployment["template"]["metadata"]["labels"]
    assert selects(budget["selector"], labels)
    pod = deployment["template"]["spec"]
    (spread,) = pod["topologySpreadConstraints"]
    assert selects(spread["labelSelector"], labels)
    assert set(spread["matchLabelKeys"]) - {"pod-template-hash"} <= set(labels)


def test_production_names_images_by_digest(production: Rendered) -> None:
    for name, template in pods(production):
        for container in containers(template["spec"]):
            assert re.search(r"@sha256:[0-9a-f]{64}$", container["image"]), name


def test_production_has_no_secret_in_version_control(production: Rendered) -> None:
    assert of_kind(production, "Secret") == []


# --- the development overlay's databases ----------------------------------------------------------


def secret(rendered: Rendered, prefix: str) -> dict[str, str]:
    (found,) = [
        each
        for each in of_kind(rendered, "Secret")
        if each["metadata"]["name"].startswith(f"{prefix}-secrets-")
    ]
    return {key: base64.b64decode(value).decode() for key, value in found["data"].items()}


def test_demo_secrets_say_that_they_are_demo(dev: Rendered) -> None:
    for each in of_kind(dev, "Secret"):
        assert "demo" in each["metadata"]["annotations"]["services/demo"]
    for service in SERVICES:
        assert "demo" in secret(dev, service)["SECRET_KEY"]


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_has_its_own_role_and_database(dev: Rendered, service: str) -> None:
    password = secret(dev, "postgres")[service]
    assert secret(dev, service)["DATABASE_URL"] == (
        f"postgresql://{service}:{password}@postgres:5432/{service}"
    )


def test_the_database_has_connections_for_every_pool_during_a_rollout(dev: Rendered) -> None:
    """Twice the pods, as a rollout has; PostgreSQL keeps three connections for itself."""
    from service_platform.settings import PlatformSettings  # noqa: PLC0415

    fields = PlatformSettings.model_fields
    pool = fields["database_pool_size"].default + fields["database_max_overflow"].default
    (postgres,) = named(dev, "StatefulSet", "postgres")["spec"]["template"]["spec"]["containers"]
    allowed = int(postgres["args"][1].removeprefix("max_connections="))
    assert 2 * len(list(service_pods(dev))) * pool <= allowed - 3
