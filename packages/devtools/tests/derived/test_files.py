"""A folder is added to a workspace, and everything else follows from what it declares."""

import ipaddress
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from devtools.derived import files
from devtools.manifests import render
from devtools.project import ROOT
from devtools.workspace import workspace

TYPE = '{"paths": {"/": {"example": {"type": "/problems/%s"}}}}'


def documents(path: Path) -> list[dict[str, Any]]:
    return [each for each in yaml.safe_load_all(path.read_text()) if each]


def named(path: Path, name: str) -> dict[str, Any]:
    (found,) = [each for each in documents(path) if each["metadata"]["name"] == name]
    return found


def test_this_workspace_is_as_declared() -> None:
    assert files.stale() == []


def test_a_changed_file_is_told_by_the_check(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "stale", lambda: [ROOT / "infra/k8s/base/kustomization.yaml"])
    assert files.main() == 1
    assert capsys.readouterr().out == (
        "infra/k8s/base/kustomization.yaml is not what the services declare; "
        "./dev fix puts it right.\n"
    )


def test_a_folder_is_all_that_a_service_needs_to_be_deployed(root: Path) -> None:
    assert files.stale(root)
    files.write(root)
    assert files.stale(root) == []
    for overlay in ("dev", "tilt", "production"):
        rendered = render(root / "infra/k8s/overlays" / overlay)
        found = {(each["kind"], each["metadata"]["name"]) for each in rendered.documents}
        for kind in ("Deployment", "Service", "ServiceAccount"):
            assert (kind, "wares") in found
        (deployment,) = [
            each
            for each in rendered.documents
            if (each["kind"], each["metadata"]["name"]) == ("Deployment", "wares")
        ]
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        assert container["image"] == (
            f"{workspace().published_image('wares')}@{files.NO_DIGEST}"
            if overlay == "production"
            else f"{workspace().image('wares')}:dev"
        )
        assert container["readinessProbe"]["httpGet"]["path"] == "/health/ready"


def test_it_is_reached_scaled_watched_and_has_a_database(root: Path) -> None:
    (root / "docs/api/wares.json").write_text(TYPE % "ware-not-found")
    files.write(root)
    components = root / "infra/k8s/components"
    (rule,) = named(components / "gateway/routes.yaml", "wares")["spec"]["rules"]
    assert [each["path"]["value"] for each in rule["matches"]] == [
        "/api/v1/wares", "/hooks", "/problems/ware-not-found",
    ]  # fmt: skip
    paths = documents(components / "ingress/ingress.yaml")[0]["spec"]["rules"][0]["http"]["paths"]
    assert [each["path"] for each in paths if each["backend"]["service"]["name"] == "wares"] == [
        "/api/v1/wares", "/hooks", "/problems/ware-not-found",
    ]  # fmt: skip
    for file in ("autoscalers.yaml", "disruption-budgets.yaml"):
        assert named(components / "availability" / file, "wares")
    assert 'absent(up{job="wares"})' in (components / "monitoring/service-down.yaml").read_text()
    sql = (components / "postgres/databases.sql").read_text()
    assert "CREATE DATABASE wares OWNER wares" in sql
    secrets = (root / "infra/k8s/overlays/dev/demo-secrets/kustomization.yaml").read_text()
    assert "- name: wares-secrets" in secrets
    assert "- wares=demo-wares" in secrets


def test_it_may_call_what_it_needs_and_nothing_else(root: Path) -> None:
    files.write(root)
    policies = root / "infra/k8s/components/network-policies/calls.yaml"
    callers = {
        each["metadata"]["name"]: each["spec"]["podSelector"]["matchExpressions"][0]["values"]
        for each in documents(policies)
        if each["metadata"]["name"].startswith("callers-to-")
    }
    assert "wares" in callers["callers-to-auth"]
    assert callers["callers-to-users"] == ["wares"]
    assert "callers-to-wares" not in callers


def test_auth_makes_tokens_for_it(root: Path) -> None:
    files.write(root)
    values: dict[str, Any] = {}
    exec((root / "services/auth/src/auth/known_services.py").read_text(), values)
    assert "wares" in values["AUDIENCES"]
    assert {"wares:read", "wares:write"} <= set(values["ACCOUNT_SCOPES"])


def test_a_component_in_its_folder_is_part_of_its_base(root: Path) -> None:
    own = root / "services/wares/k8s/kustomization.yaml"
    own.parent.mkdir()
    own.write_text(
        "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n"
        "configMapGenerator:\n  - name: wares-config\n    behavior: merge\n"
        "    options: {immutable: true}\n    literals: [REQUEST_TIMEOUT_SECONDS=60]\n"
    )
    files.write(root)
    rendered = render(root / "infra/k8s/overlays/dev")
    (config,) = [
        each["data"]
        for each in rendered.documents
        if each["kind"] == "ConfigMap" and each["metadata"]["name"].startswith("wares-config-")
    ]
    assert config == {"PROJECT_NAME": "wares", "REQUEST_TIMEOUT_SECONDS": "60"}


def test_nothing_is_left_of_a_folder_that_is_removed(root: Path) -> None:
    before = {path: path.read_bytes() for path in (root / "infra").rglob("*") if path.is_file()}
    files.write(root)
    shutil.rmtree(root / "services/wares")
    written = files.write(root)
    assert root / "infra/k8s/base/wares" in written
    after = {path: path.read_bytes() for path in (root / "infra").rglob("*") if path.is_file()}
    assert after == before


def test_a_problem_of_two_services_leads_to_the_first(root: Path) -> None:
    for service in ("users", "wares"):
        (root / f"docs/api/{service}.json").write_text(TYPE % "out-of-stock")
    files.write(root)
    routes = (root / "infra/k8s/components/gateway/routes.yaml").read_text()
    assert routes.count("/problems/out-of-stock") == 1


def test_problems_of_the_platform_are_nobody_s_own() -> None:
    assert files.own_problems(ROOT, "users") == ["profile-not-found"]


def test_the_platform_s_problems_are_known_whatever_else_is_imported() -> None:
    code = (
        "import users.app; from devtools.derived.files import ROOT, own_problems;"
        "print(own_problems(ROOT, 'users'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "['profile-not-found']\n"


@pytest.mark.parametrize("overlay", ["dev", "tilt", "production"])
def test_a_service_with_jobs_has_a_worker_of_the_same_kind(
    root_with_worker: Path, overlay: str
) -> None:
    files.write(root_with_worker)
    rendered = render(root_with_worker / "infra/k8s/overlays" / overlay)
    found = {
        each["metadata"]["name"]: each["spec"]["template"]["spec"]
        for each in rendered.documents
        if each["kind"] == "Deployment"
    }
    service, worker = found["wares"], found["wares-worker"]
    (of_service,), (of_worker,) = service["containers"], worker["containers"]
    command = of_worker.pop("command")[-1]
    assert "python -m service_platform.worker" in command
    assert ("watchfiles" in command) == (overlay == "tilt")
    assert worker.pop("serviceAccountName") == "wares-worker"
    assert service.pop("serviceAccountName") == "wares"
    names = {"wares": of_service, "wares-worker": of_worker}
    for name, container in names.items():
        for variable in container.get("env", []):
            if isinstance(variable.get("value"), str):
                variable["value"] = variable["value"].replace(name, "NAME")
    assert worker == service


def test_a_worker_may_call_the_internet_but_no_private_network(root_with_worker: Path) -> None:
    files.write(root_with_worker)
    policies = root_with_worker / "infra/k8s/components/network-policies/calls.yaml"
    policy = named(policies, "wares-worker-to-internet")["spec"]
    assert policy["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": "wares-worker"}
    (rule,) = policy["egress"]
    assert rule["ports"] == [{"protocol": "TCP", "port": 443}]
    v4, v6 = (each["ipBlock"] for each in rule["to"])
    reachable = ipaddress.IPv4Network(v4["cidr"])
    closed = [ipaddress.IPv4Network(each) for each in v4["except"]]
    assert all(each.subnet_of(reachable) for each in closed)
    for address in ("10.0.0.1", "169.254.169.254", "172.31.0.1", "192.168.1.1", "127.0.0.1"):
        assert any(ipaddress.ip_address(address) in each for each in closed), address
    assert ipaddress.ip_address("fd00::1") not in ipaddress.ip_network(v6["cidr"])


def test_a_worker_is_scaled_by_its_queue_where_the_cluster_can(root_with_worker: Path) -> None:
    files.write(root_with_worker)
    overlay = root_with_worker / "infra/k8s/overlays/production/kustomization.yaml"
    components = "  - ../../components/availability\n"
    text = overlay.read_text()
    assert components in text
    overlay.write_text(
        text.replace(components, f"{components}  - ../../components/queue-autoscaling\n")
    )
    scalers = {
        each["metadata"]["name"]: each["spec"]["metrics"]
        for each in render(overlay.parent).documents
        if each["kind"] == "HorizontalPodAutoscaler"
    }
    (metric,) = scalers["wares-worker"]
    assert metric["external"]["metric"]["name"] == "jobs_queued"
    assert scalers["wares"][0]["type"] == "ContainerResource"


def test_nothing_is_left_of_a_worker_that_is_gone(root_with_worker: Path) -> None:
    files.write(root_with_worker)
    declaration = root_with_worker / "services/wares/pyproject.toml"
    declaration.write_text(declaration.read_text().replace("worker = true\n", ""))
    files.write(root_with_worker)
    assert not (root_with_worker / "infra/k8s/base/wares-worker").exists()
    assert files.stale(root_with_worker) == []
