"""The production images: what is in them and what is not; as pods they run in `test_pods.py`."""

import json
import re
import shlex
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
from tests.infra.conftest import Docker

from devtools.image import service_names
from devtools.project import uv_command

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


@pytest.mark.parametrize("service", SERVICES)
def test_every_stage_installs_what_exports_traces(service: str) -> None:
    """uv says what the Dockerfile's words choose from the lock file, without installing it."""
    uv = uv_command()
    if uv is None:
        pytest.skip("uv is neither beside ./dev nor on the PATH")
    syncs = re.findall(r"uv sync ([^\\\n]*)", DOCKERFILE.read_text())
    assert len(syncs) == 3
    for sync in syncs:
        options = [
            option
            for option in shlex.split(sync.replace("${SERVICE}", service))
            if option not in {"--no-install-workspace", "--no-editable"}
        ]
        done = subprocess.run(
            [uv, "export", "--quiet", "--offline", "--no-dev", "--no-emit-workspace", *options],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        chosen = set(re.findall(r"^([\w-]+)==", done.stdout, re.MULTILINE))
        assert {"opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"} <= chosen
        assert not {"gunicorn", "pytest"} & chosen


# --- what is in them ------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=SERVICES)
def service(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def image(images: dict[str, str], service: str) -> str:
    return images[service]


@pytest.fixture
def inspected(docker: Docker, image: str) -> dict[str, Any]:
    (found,) = json.loads(docker("image", "inspect", image))
    return dict(found)


SITE = "/opt/venv/lib/python3.13/site-packages"
LOOKS = {
    "packages": f"ls {SITE}",
    "platform": f"ls {SITE}/service_platform",
    "telemetry": f"ls {SITE}/opentelemetry {SITE}/opentelemetry/exporter/otlp/proto",
    "tests": "find /opt -name tests",
    "tools": "command -v uv uvx gcc cc make git || true",
    "secrets": r"find /opt \( -name '.env*' -o -name '*.pem' -o -name '*.key' \)",
    "temporary": "ls -A /tmp",
    "writable": "find /opt/venv ! -user root -o -writable ! -type l",
    "compiled": f"ls {SITE}/$SERVICE/__pycache__",
}
"""Commands by what they look for; a container takes longer to start than all of them."""


@pytest.fixture(scope="module")
def found(docker: Docker, image: str) -> dict[str, list[str]]:
    """What each look into an image found, as lines."""
    script = "\n".join(f"echo '== {name}'\n{command}" for name, command in LOOKS.items())
    options = ["--rm", "--network", "none", "--entrypoint", "sh"]
    said = docker("run", *options, image, "-ec", script)
    parts = [part.splitlines() for part in said.split("== ")[1:]]
    return {name: lines for name, *lines in parts}


def test_it_holds_its_own_service_and_no_developer_tool(
    found: dict[str, list[str]], service: str
) -> None:
    names = set(found["packages"])
    assert {service, "service_platform", "fastapi"} <= names
    development = {"service_testing", "devtools", "pytest", "_pytest", "mypy", "ruff", "watchfiles"}
    assert not {*SERVICES, *development} & (names - {service})
    assert "app.py" in found["platform"]
    assert {"sdk", "http"} <= set(found["telemetry"])


def test_it_holds_no_tests_no_tools_to_build_and_no_secrets(found: dict[str, list[str]]) -> None:
    assert found["tests"] == []
    assert found["tools"] == []
    assert [path for path in found["secrets"] if "certifi" not in path] == []
    assert found["temporary"] == []


def test_its_code_belongs_to_root_and_is_compiled(found: dict[str, list[str]]) -> None:
    assert found["writable"] == []
    assert "app.cpython-313.pyc" in found["compiled"]


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
    docker: Docker, inspected: dict[str, Any], record_property: Any
) -> None:
    base = int(docker("image", "inspect", "--format", "{{.Size}}", BASE_IMAGE))
    own = (inspected["Size"] - base) / MEBIBYTE
    record_property("mebibytes", round(inspected["Size"] / MEBIBYTE))
    assert own < 110


def test_a_release_that_changes_no_dependency_is_a_small_layer(docker: Docker, image: str) -> None:
    history = docker("history", "--no-trunc", "--format", "{{.Size}}\t{{.CreatedBy}}", image)
    (layer,) = [line for line in history.splitlines() if "COPY /own" in line]
    size = layer.split("\t")[0]
    assert size.endswith("kB") or float(size.removesuffix("MB")) < 10


def test_it_refuses_to_start_in_production_without_its_configuration(
    docker: Docker, image: str
) -> None:
    done = subprocess.run(
        [docker.client, "run", "--rm", "--read-only", "--env", "ENVIRONMENT=production", image],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 78
    assert "SECRET_KEY: " in done.stderr
    assert "Traceback" not in done.stderr
