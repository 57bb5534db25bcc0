"""Runs the pods of `overlays/dev` in Docker, as a kubelet would run them.

The pod of a workload is read from the rendered manifests: command, environment, ConfigMaps and
Secrets as files, volumes, user, dropped capabilities, read-only root, memory, init containers.
So these tests run what `kubectl apply -k infra/k8s/overlays/dev` runs. Scheduling, probes and
NetworkPolicies need a cluster.
"""

import base64
import fcntl
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from devtools.image import build, docker_command, service_names
from devtools.manifests import K8S, Rendered, render
from devtools.workspace import workspace
from service_testing.declarations import declarations

SERVICES = tuple(service_names())
WORKERS = tuple(each.worker_name for each in declarations() if each.worker)
WORKLOADS = (*SERVICES, *WORKERS)
BUILD_NETWORK = "host" if sys.platform == "linux" else "default"
"""On a developer's machine the build then has its resolver and its way to the package index."""

OWNER = "infra-test.owner"
"""A label: the machine and the process that a container, a network or a volume was made by."""

UNLIMITED = {"RATE_LIMIT_REQUESTS": "1000000"}
"""Of the pods: some tests send them as many requests as they can answer."""


@pytest.fixture(scope="session")
def docker() -> "Docker":
    client = docker_command()
    if client is None:
        pytest.skip("no Docker engine with BuildKit is running")
    docker = Docker(client)
    remove_leftovers(docker)
    return docker


@pytest.fixture(scope="session")
def build_image(
    docker: "Docker", tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, str], str]:
    """Builds a stage of the Dockerfile for a service; the image's name."""
    base = tmp_path_factory.getbasetemp()
    run = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base

    def built(service: str, target: str) -> str:
        name = (
            f"{workspace().image(service)}:{'test' if target == 'production' else f'test-{target}'}"
        )
        with alone(run / f"{service}-{target}.lock") as seen_before:
            if not seen_before:
                before = docker("image", "inspect", "--format", "{{.Id}}", name, check=False)
                tag = name.rpartition(":")[2]
                status = build(
                    docker.client, service, target=target, tag=tag, network=BUILD_NETWORK
                )
                assert status == 0, f"the image {name} was not built"
                if before != docker("image", "inspect", "--format", "{{.Id}}", name):
                    docker("image", "rm", before, check=False)  # else one is left by each run
        return name

    return built


@pytest.fixture(scope="session")
def images(build_image: Callable[[str, str], str]) -> dict[str, str]:
    """The production images, by service."""
    with ThreadPoolExecutor() as threads:
        names = threads.map(lambda service: build_image(service, "production"), SERVICES)
        return dict(zip(SERVICES, names, strict=True))


@contextmanager
def alone(path: Path) -> Iterator[bool]:
    """Keeps out the other processes of this run; whether one of them came to the end before."""
    with path.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        seen_before = bool(file.read())
        yield seen_before
        file.write("done")


@pytest.fixture(scope="session")
def development() -> Rendered:
    return overlay("dev")


@cache
def overlay(name: str) -> Rendered:
    """An overlay, rendered once: kustomize takes a while. Nobody may change the documents."""
    return render(K8S / "overlays" / name)


@pytest.fixture(scope="module")
def cluster(
    docker: "Docker",
    development: Rendered,
    images: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator["Cluster"]:
    """PostgreSQL and Valkey of the manifests, and a way to start the services' pods."""
    cluster = Cluster(docker, development, tmp_path_factory.mktemp("volumes"), images)
    with cluster, ThreadPoolExecutor() as threads:
        postgres = threads.submit(cluster.start, "postgres", image="postgres:18-trixie", port=5432)
        cluster.start("valkey", image="valkey/valkey:9-trixie", port=6379)
        postgres.result()
        yield cluster


def owner() -> str:
    return f"{socket.gethostname()}/{os.getpid()}"


def remove_leftovers(docker: "Docker") -> None:
    """Remove what a run on this machine left behind that was killed."""
    for kind in ("container", "network", "volume"):
        everything = ["--all"] if kind == "container" else []
        name = ".Names" if kind == "container" else ".Name"
        shown = docker(
            kind, "ls", *everything, "--filter", f"label={OWNER}",
            "--format", f'{{{{{name}}}}} {{{{.Label "{OWNER}"}}}}',
        )  # fmt: skip
        for found, made_by in (line.split() for line in shown.splitlines()):
            machine, _, pid = made_by.rpartition("/")
            if machine == socket.gethostname() and not is_alive(int(pid)):
                forced = ["--force", "--volumes"] if kind == "container" else []
                docker(kind, "rm", *forced, found, check=False)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


@dataclass(frozen=True)
class Docker:
    """The Docker client as a function."""

    client: str

    def __call__(self, *arguments: str, check: bool = True, merge: bool = False) -> str:
        """Run a command; its standard output, with standard error when `merge`."""
        done = subprocess.run(
            [self.client, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if merge else subprocess.PIPE,
            text=True,
            check=False,
            timeout=300,
        )
        if check and done.returncode:
            raise AssertionError(f"docker {' '.join(arguments)}: {done.stderr or done.stdout}")
        return done.stdout.strip()


@dataclass
class Pod:
    """One running container of a pod."""

    docker: Docker
    name: str
    address: str

    def logs(self) -> str:
        return self.docker("logs", self.name, merge=True)

    def eventually_ready(self, seconds: float = 60.0) -> None:
        """Wait for the readiness probe to pass."""
        self.eventually(lambda: self.status("/health/ready") == 200, seconds)

    def eventually(self, condition: Callable[[], bool], seconds: float = 60.0) -> None:
        """Wait for something that will be true soon."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"still not so after {seconds:g} s\n{self.logs()}")
            time.sleep(0.05)

    def status(self, path: str) -> int:
        """Status of a GET, 0 when nothing answers."""
        try:
            with urllib.request.urlopen(f"http://{self.address}{path}", timeout=5) as response:
                return int(response.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def terminate(self, grace: float) -> tuple[int, float]:
        """What a kubelet does after preStop: SIGTERM, then SIGKILL. Exit status and seconds."""
        began = time.monotonic()
        self.docker("stop", "--time", str(int(grace)), self.name)
        return self.wait(), time.monotonic() - began

    def signal(self, name: str = "TERM") -> None:
        self.docker("kill", "--signal", name, self.name)

    def wait(self) -> int:
        return int(self.docker("wait", self.name))

    def memory_mebibytes(self) -> float:
        """Highest use of memory so far, as the kernel counts it against the limit."""
        peak = self.docker(
            "exec", self.name, "sh", "-c",
            "cat /sys/fs/cgroup/memory.peak /sys/fs/cgroup/memory/memory.max_usage_in_bytes"
            " 2>/dev/null", check=False,
        )  # fmt: skip
        return int(peak.split()[0]) / 2**20 if peak else 0.0


class Cluster:
    """A Docker network with the pods of one rendering."""

    def __init__(
        self, docker: Docker, rendered: Rendered, directory: Path, images: dict[str, str]
    ) -> None:
        self.docker = docker
        self.directory = directory
        self.images = images
        self.objects = objects_of(rendered)
        self.network = f"infra-test-{os.getpid()}"
        self.volumes: set[str] = set()
        self.containers: list[str] = []
        self.pods: dict[str, Pod] = {}

    def __enter__(self) -> "Cluster":
        self.docker("network", "create", "--label", f"{OWNER}={owner()}", self.network)
        return self

    def __exit__(self, *exc: object) -> None:
        if self.containers:
            self.docker("rm", "--force", "--volumes", *self.containers, check=False)
        self.docker("network", "rm", self.network, check=False)
        for volume in self.volumes:
            self.docker("volume", "rm", "--force", volume, check=False)

    def running(self, *services: str) -> "dict[str, Pod]":
        """Pods of services that are ready; those that are not running are started, all at once."""
        missing = [service for service in services if service not in self.pods]
        with ThreadPoolExecutor() as threads:
            self.pods |= zip(missing, threads.map(self.start, missing), strict=True)
        found = {service: self.pods[service] for service in services}
        for pod in found.values():
            pod.eventually_ready()
        return found

    @contextmanager
    def of(self, rendered: Rendered, images: dict[str, str]) -> Iterator[None]:
        """Pods that start meanwhile are of another rendering, with other images."""
        before = self.objects, self.images
        self.objects, self.images = objects_of(rendered), images
        try:
            yield
        finally:
            self.objects, self.images = before

    def pod_spec(self, workload: str) -> dict[str, Any]:
        kinds = ("Deployment", "StatefulSet")
        (found,) = [
            self.objects[kind, workload] for kind in kinds if (kind, workload) in self.objects
        ]
        spec: dict[str, Any] = found["spec"]["template"]["spec"]
        return spec

    def start(
        self,
        workload: str,
        *,
        image: str = "",
        port: int = 8000,
        suffix: str = "",
    ) -> Pod:
        """Run the init containers to their end, then the container; returns at once."""
        spec = self.pod_spec(workload)
        environment: dict[str, str] = {}
        if not image:  # a Service of the cluster would map its port 80 to the pods'
            image = self.images[workload]
            environment = {"AUTH_URL": "http://auth:8000", **UNLIMITED}
        for container in spec.get("initContainers", []):
            self.run(spec, container, image, f"{workload}-{container['name']}{suffix}", wait=True)
        name = f"{self.network}-{workload}{suffix}"
        (container,) = spec["containers"]
        self.run(
            spec, container, image, f"{workload}{suffix}", environment,
            options=["--network-alias", workload, "--publish", f"127.0.0.1::{port}"],
        )  # fmt: skip
        return Pod(self.docker, name, self.docker("port", name, f"{port}/tcp").splitlines()[0])

    def run(
        self,
        spec: dict[str, Any],
        container: dict[str, Any],
        image: str,
        name: str,
        environment: dict[str, str] | None = None,
        *,
        wait: bool = False,
        options: Sequence[str] = (),
    ) -> str:
        """Run one container with everything the pod says; its output when it was waited for."""
        name = f"{self.network}-{name}"
        command = container.get("command", [])
        arguments = [
            "run", "--name", name, "--network", self.network, "--label", f"{OWNER}={owner()}",
            "--no-healthcheck",  # Kubernetes ignores it, too
            *restrictions(spec, container),
            *self.environment(container, environment or {}),
            *self.mounts(spec, container, image),
            *options,
        ]  # fmt: skip
        self.containers.append(name)
        arguments.append("--rm" if wait else "--detach")
        if command:
            arguments += ["--entrypoint", command[0]]
        return self.docker(*arguments, image, *command[1:], *container.get("args", []), merge=wait)

    def environment(self, container: dict[str, Any], more: dict[str, str]) -> list[str]:
        values = environment_of(self.objects, container) | more
        return [part for item in values.items() for part in ("--env", "=".join(item))]

    def mounts(self, spec: dict[str, Any], container: dict[str, Any], image: str) -> list[str]:
        volumes = {volume["name"]: volume for volume in spec.get("volumes", [])}
        owner = spec["securityContext"]["runAsUser"]
        arguments: list[str] = []
        for mount in container.get("volumeMounts", []):
            volume = volumes.get(mount["name"], {"emptyDir": {"sizeLimit": "1Gi"}})  # a claim
            path = mount["mountPath"]
            if mount["name"] == "sources":  # the one that an init container fills for the next
                arguments += ["--volume", f"{self.shared_volume(image)}:{path}"]
                continue
            if "emptyDir" in volume:
                size = volume["emptyDir"]["sizeLimit"].replace("i", "").lower()
                arguments += [
                    "--tmpfs",
                    f"{path}:exec,size={size},uid={owner},gid={owner},mode=770",
                ]
                continue
            kind, key = ("Secret", "secretName") if "secret" in volume else ("ConfigMap", "name")
            name = volume[kind[0].lower() + kind[1:]][key]
            directory = self.directory / name
            directory.mkdir(exist_ok=True)
            for file, content in files_of(self.objects, kind, name).items():
                (directory / file).write_bytes(content)
            arguments += ["--volume", f"{directory}:{path}:ro"]
        return arguments

    def shared_volume(self, image: str) -> str:
        """A volume that the pod's user may write, as `fsGroup` makes an emptyDir."""
        name = f"{self.network}-sources"
        if name not in self.volumes:
            self.volumes.add(name)
            command = ["--user", "0", "--entrypoint", "chmod", image, "0777", "/sources"]
            self.docker("volume", "create", "--label", f"{OWNER}={owner()}", name)
            self.docker("run", "--rm", "--volume", f"{name}:/sources", *command)
        return name


Objects = dict[tuple[str, str], dict[str, Any]]
"""The objects of a rendering by kind and name."""

FIELDS = {"metadata.name": "a-pod", "metadata.namespace": workspace().dev_namespace}
"""What a pod is told about itself."""


def objects_of(rendered: Rendered) -> Objects:
    return {(each["kind"], each["metadata"]["name"]): each for each in rendered.documents}


def files_of(objects: Objects, kind: str, name: str) -> dict[str, bytes]:
    """What a ConfigMap or a Secret is as a volume."""
    found = objects[kind, name]
    if kind == "Secret":
        return {key: base64.b64decode(value) for key, value in found["data"].items()}
    return {key: value.encode() for key, value in found["data"].items()}


def expanded(text: str, values: dict[str, str]) -> str:
    """`$(NAME)` stands for a variable that was set before, and else for itself."""
    return re.sub(r"\$\((\w+)\)", lambda found: values.get(found[1], found[0]), text)


def environment_of(objects: Objects, container: dict[str, Any]) -> dict[str, str]:
    """The variables that a kubelet would give to a container; those of `envFrom` come first."""
    values: dict[str, str] = {}
    for source in container.get("envFrom", []):
        values |= objects["ConfigMap", source["configMapRef"]["name"]]["data"]
    for variable in container.get("env", []):
        match variable:
            case {"value": text}:
                value = expanded(text, values)
            case {"valueFrom": {"fieldRef": {"fieldPath": path}}}:
                value = FIELDS[path]
            case {"valueFrom": {"configMapKeyRef": {"name": name, "key": key}}}:
                value = objects["ConfigMap", name]["data"][key]
            case {"valueFrom": {"secretKeyRef": {"name": name, "key": key}}}:
                value = files_of(objects, "Secret", name)[key].decode()
            case _:
                raise AssertionError(f"no such source of a variable: {variable}")
        values[variable["name"]] = value
    return values


def restrictions(spec: dict[str, Any], container: dict[str, Any]) -> list[str]:
    """Docker's words for the pod's and the container's security context and limits."""
    pod, own = spec["securityContext"], container["securityContext"]
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}  # Docker's default, too
    assert own["allowPrivilegeEscalation"] is False
    assert own["readOnlyRootFilesystem"] is True
    memory = container["resources"]["limits"]["memory"].replace("i", "").lower()
    return [
        "--user", f"{pod['runAsUser']}:{pod['runAsGroup']}",
        "--cap-drop", *own["capabilities"]["drop"],
        "--security-opt", "no-new-privileges",
        "--read-only",
        "--memory", memory, "--memory-swap", memory,
    ]  # fmt: skip
