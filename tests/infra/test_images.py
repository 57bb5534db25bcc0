"""The production images: what is in them and what is not, and that they start as a pod would."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from devtools.image import service_names

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "infra/docker/Dockerfile"
SERVICES = tuple(service_names())
BASE_IMAGE = "python:3.13-slim-trixie"
MEBIBYTE = 2**20


# --- without Docker -------------------------------------------------------------------------------


def test_the_tools_in_the_dockerfile_are_the_locked_ones() -> None:
    locked = {each["name"]: each["version"] for each in _lock()["package"]}
    (watcher,) = re.findall(r"watchfiles==([\d.]+)", DOCKERFILE.read_text())
    assert watcher == locked["watchfiles"]


def test_every_image_is_built_by_one_version_of_uv() -> None:
    assert len(set(re.findall(r"astral-sh/uv:([\w.]+)", DOCKERFILE.read_text()))) == 1


def test_the_dockerfile_needs_no_frontend_from_a_registry() -> None:
    assert "# syntax=" not in DOCKERFILE.read_text()


def test_nothing_but_what_an_image_is_made_of_is_sent_to_the_engine() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert ignored[1] == "*"
    allowed = [line[1:] for line in ignored if line.startswith("!")]
    assert allowed == ["pyproject.toml", "uv.lock", "packages", "packages/platform", "services"]
    assert {"**/tests", "**/.env*"} <= set(ignored)


def _lock() -> dict[str, Any]:
    return tomllib.loads((ROOT / "uv.lock").read_text())


# --- what is in them ------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=SERVICES)
def service(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def image(images: dict[str, str], service: str) -> str:
    return images[service]


@pytest.fixture
def inspected(docker: Any, image: str) -> dict[str, Any]:
    (found,) = json.loads(docker("image", "inspect", image))
    return dict(found)


def inside(docker: Any, image: str, command: str) -> list[str]:
    output = docker("run", "--rm", "--network", "none", "--entrypoint", "sh", image, "-c", command)
    return list(output.splitlines())


def test_it_holds_its_own_service_and_no_developer_tool(
    docker: Any, image: str, service: str
) -> None:
    site = "/opt/venv/lib/python3.13/site-packages"
    names = set(inside(docker, image, f"ls {site}"))
    assert {service, "service_platform", "fastapi"} <= names
    assert not {*SERVICES, "devtools", "pytest", "_pytest", "mypy", "ruff", "watchfiles"} & (
        names - {service}
    )
    assert "testing" not in inside(docker, image, f"ls {site}/service_platform")


def test_it_holds_no_tests_no_tools_to_build_and_no_secrets(docker: Any, image: str) -> None:
    assert inside(docker, image, "find /opt -name tests") == []
    assert inside(docker, image, "command -v uv uvx gcc cc make git; true") == []
    secrets = r"find /opt \( -name '.env*' -o -name '*.pem' -o -name '*.key' \)"
    assert [path for path in inside(docker, image, secrets) if "certifi" not in path] == []
    assert inside(docker, image, "ls -A /tmp") == []


def test_its_code_belongs_to_root_and_is_compiled(docker: Any, image: str, service: str) -> None:
    assert inside(docker, image, "find /opt/venv ! -user root -o -writable ! -type l") == []
    cached = f"/opt/venv/lib/python3.13/site-packages/{service}/__pycache__"
    assert "app.cpython-313.pyc" in inside(docker, image, f"ls {cached}")


def test_it_says_what_it_is_and_how_to_run_it(inspected: dict[str, Any], service: str) -> None:
    config = inspected["Config"]
    assert config["User"] == "10001:10001"
    assert config["StopSignal"] == "SIGTERM"
    assert config["Healthcheck"]["Test"][0] == "CMD"
    labels = {key.rpartition(".")[2]: value for key, value in config["Labels"].items()}
    assert labels["title"] == service
    assert re.fullmatch(r"[0-9a-f]{40}", labels["revision"])
    assert labels["version"]
    environment = dict(each.split("=", 1) for each in config["Env"])
    assert not {"SECRET_KEY", "DATABASE_URL", "REDIS_URL"} & set(environment)


def test_it_is_little_more_than_the_base_image(
    docker: Any, inspected: dict[str, Any], record_property: Any
) -> None:
    base = int(docker("image", "inspect", "--format", "{{.Size}}", BASE_IMAGE))
    own = (inspected["Size"] - base) / MEBIBYTE
    record_property("mebibytes", round(inspected["Size"] / MEBIBYTE))
    assert own < 110


def test_a_release_that_changes_no_dependency_is_a_small_layer(docker: Any, image: str) -> None:
    history = docker("history", "--no-trunc", "--format", "{{.Size}}\t{{.CreatedBy}}", image)
    (layer,) = [line for line in history.splitlines() if "COPY /own" in line]
    size = layer.split("\t")[0]
    assert size.endswith("kB") or float(size.removesuffix("MB")) < 10


def test_it_refuses_to_start_in_production_without_its_configuration(
    docker: Any, image: str
) -> None:
    done = subprocess.run(
        [docker.client, "run", "--rm", "--read-only", "--env", "ENVIRONMENT=production", image],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 78
    assert "SECRET_KEY: " in done.stderr
    assert "Traceback" not in done.stderr


# --- as pods --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pods(cluster: Any) -> dict[str, Any]:
    """The three services, started together, as an apply of the overlay would."""
    return {service: cluster.start(service) for service in SERVICES}


@pytest.mark.parametrize("name", SERVICES)
def test_a_pod_becomes_ready_under_the_restrictions_and_writes_nothing_to_its_root(
    docker: Any, pods: dict[str, Any], name: str
) -> None:
    pods[name].eventually_ready()
    (found,) = json.loads(docker("inspect", pods[name].name))
    mounted = [*found["HostConfig"]["Tmpfs"], *(each["Destination"] for each in found["Mounts"])]
    # Docker itself makes the directories that it mounts something on.
    written = [line.split(" ", 1)[1] for line in docker("diff", pods[name].name).splitlines()]
    assert [
        path for path in written if not any(f"{mount}/".startswith(f"{path}/") for mount in mounted)
    ] == []


@pytest.mark.parametrize("name", SERVICES)
def test_the_health_check_of_the_image_agrees(
    docker: Any, images: dict[str, str], pods: dict[str, Any], name: str
) -> None:
    pods[name].eventually_ready()
    (found,) = json.loads(docker("image", "inspect", images[name]))
    docker("exec", pods[name].name, *found["Config"]["Healthcheck"]["Test"][1:])


def test_the_journeys_pass_against_the_images(pods: dict[str, Any]) -> None:
    """The same that Tilt runs against its port-forwards."""
    for pod in pods.values():
        pod.eventually_ready()
    inherited = {key: value for key, value in os.environ.items() if "PYTEST" not in key}
    addresses = {f"E2E_{name.upper()}_URL": f"http://{pods[name].address}" for name in pods}
    journeys = ["tests/e2e", "--ignore=tests/e2e/identity"]  # those start their own processes
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *journeys],
        cwd=ROOT, env=inherited | addresses, capture_output=True, text=True, check=False,
        timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
