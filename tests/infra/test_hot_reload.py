"""Live reload as Tilt has it: a saved file changes the running pod, within its restrictions."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from devtools.image import build
from devtools.manifests import K8S, render

SERVICE = "items"
SOURCE = Path(f"services/{SERVICE}/src/{SERVICE}/__init__.py")


@pytest.fixture(scope="module")
def pod(cluster: Any, docker: Any, build_network: str) -> Any:
    """A pod of `overlays/tilt` with an image of the `dev` stage, beside the cluster's databases."""
    tag = "test-reload"
    assert build(docker.client, SERVICE, target="dev", tag=tag, network=build_network) == 0
    rendered = render(K8S / "overlays/tilt")
    before = cluster.objects
    cluster.objects = {
        (each["kind"], each["metadata"]["name"]): each for each in rendered.documents
    }
    cluster.images[SERVICE] = f"services/{SERVICE}:{tag}"
    pod = cluster.start(SERVICE, suffix="-reloading")
    cluster.objects = before
    pod.eventually_ready()
    return pod


def test_a_file_copied_into_the_pod_restarts_the_server(docker: Any, pod: Any) -> None:
    """The way Tilt does it: `tar` inside of the container, as the container's user."""
    started = pod.logs().count('"listening"')
    assert started == 1
    archive = subprocess.run(
        ["tar", "--create", str(SOURCE)], capture_output=True, check=True
    ).stdout
    command = ["tar", "--extract", "--directory", "/app", "--touch", "--file", "-"]
    subprocess.run(
        [docker.client, "exec", "--interactive", pod.name, *command], input=archive, check=True
    )
    pod.eventually(lambda: pod.logs().count('"listening"') == 2)
    pod.eventually_ready()


def test_only_the_sources_can_be_written(docker: Any, pod: Any) -> None:
    for path in ("/opt/venv", "/usr/local", "/etc"):
        refused = docker("exec", pod.name, "sh", "-c", f"touch {path}/x 2>&1; true")
        assert "Read-only file system" in refused or "Permission denied" in refused
    docker("exec", pod.name, "touch", f"/app/{SOURCE}")
