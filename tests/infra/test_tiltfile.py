"""The Tiltfile, evaluated as Starlark with built-ins that record what they are told.

Tilt itself and a cluster are not needed; what only they can show (an image taking the place of
another in a pod, a port-forward) is left to `tilt ci`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import starlark
import yaml  # type: ignore[import-untyped]
from tests.infra.conftest import overlay

from devtools import services
from devtools.image import service_names
from devtools.manifests import K8S, kubectl
from devtools.workspace import workspace

ROOT = Path(__file__).parents[2]
TILTFILE = ROOT / "Tiltfile"
SERVICES = {service.name: service.port for service in services.SERVICES}

# The parameters that Tilt's built-ins have: another name is a mistake that Tilt would refuse.
PARAMETERS = {
    "allow_k8s_contexts": {"contexts"},
    "ci_settings": {"k8s_grace_period", "timeout", "readiness_timeout"},
    "docker_build": {
        "ref", "context", "build_args", "dockerfile", "only", "ignore", "target", "live_update",
    },
    "k8s_resource": {
        "workload", "new_name", "objects", "port_forwards", "links", "labels", "resource_deps",
    },
    "k8s_yaml": {"yaml"},
    "local_resource": {
        "name", "cmd", "env", "labels", "auto_init", "trigger_mode", "allow_parallel",
        "resource_deps",
    },
    "version_settings": {"constraint"},
}  # fmt: skip
POSITIONAL = {
    "allow_k8s_contexts": ["contexts"],
    "docker_build": ["ref", "context"],
    "k8s_resource": ["workload"],
    "k8s_yaml": ["yaml"],
    "local_resource": ["name"],
}


class Recorded(dict[str, list[dict[str, Any]]]):
    """Calls by the name of the built-in, each as its parameters."""

    def named(self, function: str, key: str, name: str) -> dict[str, Any]:
        """The one call that names something so."""
        (found,) = [call for call in self[function] if call.get(key) == name]
        return found


def evaluate(
    context: str = "kind-dev", *, subcommand: str = "up", settings: dict[str, Any] | None = None
) -> Recorded:
    recorded = Recorded()
    module = starlark.Module()

    def recorder(function: str) -> Callable[..., None]:
        def record(*values: Any, **named: Any) -> None:
            call = dict(zip(POSITIONAL.get(function, []), values, strict=False)) | named
            assert not set(call) - PARAMETERS[function], f"{function}{sorted(call)}"
            recorded.setdefault(function, []).append(call)

        return record

    for function in PARAMETERS:
        module.add_callable(function, recorder(function))

    def keep(function: str) -> Callable[..., dict[str, Any]]:
        return lambda *values, **named: {"function": function, "args": list(values), **named}

    for function in ("sync", "fall_back_on", "port_forward", "link"):
        module.add_callable(function, keep(function))

    def kustomize(path: str) -> str:
        folder, _, name = path.rpartition("/")
        assert ROOT / folder == K8S / "overlays"
        return str(yaml.safe_dump_all(overlay(name).documents))

    module.add_callable("kustomize", kustomize)
    module.add_callable("decode_yaml_stream", lambda text: list(yaml.safe_load_all(text)))
    module.add_callable("read_file", lambda path: (ROOT / path).read_text())
    module.add_callable("k8s_context", lambda: context)
    module.add_callable("_define", lambda *_, **__: None)
    module.add_callable("_parse", lambda: settings or {})
    module.add_callable("_enable", lambda names: recorded.update(enabled=[{"names": names}]))
    module["TRIGGER_MODE_MANUAL"] = "manual"
    module["_subcommand"] = subcommand
    source = (
        "config = struct(define_string_list=_define, parse=_parse, set_enabled_resources=_enable,"
        " tilt_subcommand=_subcommand)\n"
    )
    dialect = starlark.Dialect.extended()
    built_ins = starlark.Globals.extended_by([starlark.LibraryExtension.StructType])
    starlark.eval(module, starlark.parse("built-ins", source, dialect), built_ins)
    starlark.eval(module, starlark.parse("Tiltfile", TILTFILE.read_text(), dialect), built_ins)
    return recorded


@pytest.fixture(scope="module")
def tilt() -> Recorded:
    kubectl()
    return evaluate()


@pytest.mark.parametrize("context", ["kind-dev", "k3d-mine", "minikube", "docker-desktop"])
def test_local_clusters_are_accepted(context: str) -> None:
    assert evaluate(context)["allow_k8s_contexts"] == [{"contexts": context}]


@pytest.mark.parametrize("context", ["production", "gke_acme_europe_main", "my-kind-dev", ""])
def test_a_cluster_that_is_not_local_is_refused_before_anything_is_built(context: str) -> None:
    with pytest.raises(starlark.StarlarkError, match="not known as a local cluster"):
        evaluate(context)


def test_tilt_config_can_name_further_clusters() -> None:
    recorded = evaluate("lab", settings={"allowed_contexts": ["lab"]})
    assert recorded["allow_k8s_contexts"] == [{"contexts": "lab"}]


@pytest.mark.parametrize("service", SERVICES)
def test_an_image_is_built_from_its_own_service_and_the_platform_only(
    tilt: Recorded, service: str
) -> None:
    image = tilt.named("docker_build", "ref", workspace().image(service))
    assert image["target"] == "dev"
    assert image["build_args"] == {"SERVICE": service}
    assert not [path for path in image["only"] if "services/" in path and service not in path]
    assert all((ROOT / path).exists() for path in [*image["only"], image["dockerfile"]])


@pytest.mark.parametrize("service", SERVICES)
def test_sources_are_synced_to_where_the_image_has_them(tilt: Recorded, service: str) -> None:
    steps = tilt.named("docker_build", "ref", workspace().image(service))["live_update"]
    assert steps[0]["function"] == "fall_back_on"  # Tilt wants it first
    assert {"uv.lock", "pyproject.toml", f"services/{service}/pyproject.toml"} <= set(
        steps[0]["args"][0]
    )
    synced = dict(step["args"] for step in steps[1:])
    assert synced == {
        path: f"/app/{path}" for path in ("packages/platform/src", f"services/{service}/src")
    }
    dockerfile = (ROOT / "infra/docker/Dockerfile").read_text()
    assert "WORKDIR /app" in dockerfile


@pytest.mark.parametrize(("service", "port"), SERVICES.items())
def test_services_are_reached_on_their_ports_and_have_their_docs_linked(
    tilt: Recorded, service: str, port: int
) -> None:
    resource = tilt.named("k8s_resource", "workload", service)
    assert resource["port_forwards"][0]["args"] == [port, 8000]
    assert resource["links"][0]["args"][0] == f"http://localhost:{port}/docs"
    assert {"postgres", "valkey", "configuration"} <= set(resource["resource_deps"])
    assert resource["labels"] == ["services"]


def test_the_traces_can_be_looked_at(tilt: Recorded) -> None:
    jaeger = tilt.named("k8s_resource", "workload", "jaeger")
    (forwarded,) = jaeger["port_forwards"]
    assert forwarded["args"] == [16686, 16686]
    assert jaeger["links"][0]["args"][0] == "http://localhost:16686/search"
    collector = tilt.named("k8s_resource", "workload", "otel-collector")
    assert jaeger["labels"] == collector["labels"] == ["telemetry"]
    assert "jaeger" in collector["resource_deps"]


def test_no_service_waits_for_telemetry(tilt: Recorded) -> None:
    for service in SERVICES:
        waits = set(tilt.named("k8s_resource", "workload", service)["resource_deps"])
        assert not waits & {"jaeger", "otel-collector"}


def test_every_object_belongs_to_a_named_resource(tilt: Recorded) -> None:
    grouped = {name for call in tilt["k8s_resource"] for name in call.get("objects", [])}
    workloads = {call["workload"] for call in tilt["k8s_resource"] if "workload" in call}
    for document in overlay("tilt").documents:
        name, kind = document["metadata"]["name"], document["kind"]
        if kind in {"Deployment", "StatefulSet", "Service"}:
            assert name in workloads, f"{kind} {name}"
        else:
            assert f"{name}:{kind.lower()}" in grouped


def test_every_service_of_the_workspace_is_there(tilt: Recorded) -> None:
    assert {call["build_args"]["SERVICE"] for call in tilt["docker_build"]} == set(service_names())


def test_the_images_are_the_ones_that_the_manifests_name(tilt: Recorded) -> None:
    named = {
        container["image"].partition(":")[0]
        for document in overlay("tilt").documents
        if document["kind"] == "Deployment" and document["metadata"]["name"] in SERVICES
        for part in ("initContainers", "containers")
        for container in document["spec"]["template"]["spec"][part]
    }
    assert named == {call["ref"] for call in tilt["docker_build"]}


def test_dependencies_exist(tilt: Recorded) -> None:
    resources = {call.get("new_name") or call.get("workload") for call in tilt["k8s_resource"]} | {
        call["name"] for call in tilt["local_resource"]
    }
    for call in [*tilt["k8s_resource"], *tilt["local_resource"]]:
        assert set(call.get("resource_deps", [])) <= resources


def test_tilt_ci_runs_the_journeys_after_the_services_and_no_other_button() -> None:
    recorded = evaluate(subcommand="ci")
    started = [call["name"] for call in recorded["local_resource"] if call["auto_init"]]
    assert started == ["e2e"]
    e2e = recorded.named("local_resource", "name", "e2e")
    assert set(SERVICES) <= set(e2e["resource_deps"])
    assert e2e["env"] == {
        f"E2E_{service.upper()}_URL": f"http://localhost:{port}"
        for service, port in SERVICES.items()
    }


def test_tilt_up_leaves_the_journeys_to_a_button(tilt: Recorded) -> None:
    assert not [call["name"] for call in tilt["local_resource"] if call["auto_init"]]


def test_a_named_resource_brings_what_it_needs() -> None:
    recorded = evaluate(settings={"resources": ["users"]})
    assert {"users", "postgres", "valkey", "otel-collector", "jaeger"} <= set(
        recorded["enabled"][0]["names"]
    )


def test_all_resources_run_when_none_is_named(tilt: Recorded) -> None:
    assert tilt["enabled"] == [{"names": []}]
