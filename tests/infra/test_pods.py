"""The production images as pods: they start, serve, reload as Tilt has it, and end under load.

The pods are those of the manifests with the production images, PostgreSQL and Valkey. Starting one
takes seconds, so tests use the same pods, and one that a test ends is started again for the next.

The last tests end pods under 200 requests a second, of which none may fail. Kubernetes' part is
played here: `EndpointList` forwards connections to the pods that are listed, as kube-proxy does,
and forgets a pod some time after its end has begun, while the pod still gets connections.
"""

import asyncio
import base64
import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.infra.conftest import SERVICES, Cluster, Docker, Pod, overlay

ROOT = Path(__file__).parents[2]

REQUESTS_PER_SECOND = 200
CALLERS = 40
ENDPOINT_DELAY = 1.0
"""How late a balancer hears of the end of a pod."""

OWN_ROWS = ("auth", "users")
"""Services that answer for the account itself; any other lists what belongs to it."""
TARGETS = {each: f"/api/v1/{each}{'/me' if each in OWN_ROWS else ''}" for each in SERVICES}


@pytest.fixture
def pods(cluster: Cluster) -> dict[str, Pod]:
    """A ready pod of each service; started together, as an apply of the overlay would."""
    return cluster.running(*SERVICES)


# --- starting -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SERVICES)
def test_a_pod_becomes_ready_under_the_restrictions_and_writes_nothing_to_its_root(
    docker: Docker, pods: dict[str, Pod], name: str
) -> None:
    (found,) = json.loads(docker("inspect", pods[name].name))
    mounted = [*found["HostConfig"]["Tmpfs"], *(each["Destination"] for each in found["Mounts"])]
    # Docker itself makes the directories that it mounts something on.
    written = [line.split(" ", 1)[1] for line in docker("diff", pods[name].name).splitlines()]
    assert [
        path for path in written if not any(f"{mount}/".startswith(f"{path}/") for mount in mounted)
    ] == []


@pytest.mark.parametrize("name", SERVICES)
def test_the_health_check_of_the_image_agrees(
    docker: Docker, images: dict[str, str], pods: dict[str, Pod], name: str
) -> None:
    (found,) = json.loads(docker("image", "inspect", images[name]))
    docker("exec", pods[name].name, *found["Config"]["Healthcheck"]["Test"][1:])


# --- serving --------------------------------------------------------------------------------------


def test_the_journeys_pass_against_the_images(pods: dict[str, Pod]) -> None:
    """The same that Tilt runs against its port-forwards, but for the browser.

    That the images have the files of the documentation pages is asked without one, too.
    """
    inherited = {key: value for key, value in os.environ.items() if "PYTEST" not in key}
    addresses = {f"E2E_{name.upper()}_URL": f"http://{pods[name].address}" for name in pods}
    browser = "--ignore-glob=tests/e2e/*docs*.py"
    done = subprocess.run(
        [
            *[sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
            *["tests/e2e", browser],
        ],
        cwd=ROOT, env=inherited | addresses, capture_output=True, text=True, check=False,
        timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


# --- reloading, as Tilt has it: a saved file changes the running pod, within its restrictions -----

RELOADING = "users"
SOURCE = Path(f"services/{RELOADING}/src/{RELOADING}/__init__.py")


@pytest.fixture(scope="module")
def reloading(cluster: Cluster, build_image: Callable[[str, str], str]) -> Pod:
    """A pod of `overlays/tilt` with an image of the `dev` stage, beside the cluster's databases."""
    image = build_image(RELOADING, "dev")
    with cluster.of(overlay("tilt"), {RELOADING: image}):
        pod = cluster.start(RELOADING, suffix="-reloading")
    pod.eventually_ready()
    return pod


def test_a_file_copied_into_the_pod_restarts_the_server(docker: Docker, reloading: Pod) -> None:
    """The way Tilt does it: `tar` inside of the container, as the container's user."""
    started = reloading.logs().count('"listening"')
    assert started == 1
    archive = subprocess.run(
        ["tar", "--create", str(SOURCE)], capture_output=True, check=True, cwd=ROOT
    ).stdout
    command = ["tar", "--extract", "--directory", "/app", "--touch", "--file", "-"]
    subprocess.run(
        [docker.client, "exec", "--interactive", reloading.name, *command],
        input=archive, check=True,
    )  # fmt: skip
    reloading.eventually(lambda: reloading.logs().count('"listening"') == 2)
    reloading.eventually_ready()


def test_only_the_sources_can_be_written(docker: Docker, reloading: Pod) -> None:
    for path in ("/opt/venv", "/usr/local", "/etc"):
        refused = docker("exec", reloading.name, "sh", "-c", f"touch {path}/x 2>&1; true")
        assert "Read-only file system" in refused or "Permission denied" in refused
    docker("exec", reloading.name, "touch", f"/app/{SOURCE}")


# --- ending under load ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def token(cluster: Cluster) -> str:
    auth = cluster.running("auth")["auth"]
    account = {"email": "load@example.com", "password": "a long walk by the sea 42"}
    send(auth, "/api/v1/auth/register", json.dumps(account), "application/json")
    form = f"grant_type=password&username={account['email']}&password=a+long+walk+by+the+sea+42"
    answer = send(auth, "/api/v1/auth/token", form, "application/x-www-form-urlencoded")
    return str(answer["access_token"])


def send(pod: Pod, path: str, body: str, media_type: str) -> dict[str, Any]:
    request = urllib.request.Request(
        f"http://{pod.address}{path}", body.encode(), {"Content-Type": media_type}
    )
    with urllib.request.urlopen(request) as response:
        return dict(json.load(response))


def test_the_token_of_the_load_is_what_services_expect(token: str) -> None:
    claims = token.split(".")[1]
    decoded = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
    assert set(TARGETS) <= set(decoded["aud"])


async def test_no_request_fails_while_one_pod_takes_over_from_another(
    cluster: Cluster, token: str
) -> None:
    """A rolling update with `maxUnavailable: 0`: the new pod is ready before the old one ends."""
    spec = cluster.pod_spec("users")
    pre_stop = spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pre_stop > ENDPOINT_DELAY
    old = (await asyncio.to_thread(cluster.running, "users"))["users"]
    new = await asyncio.to_thread(cluster.start, "users", suffix="-new")
    async with EndpointList() as endpoints:
        endpoints.add(old.address)
        async with load(f"http://{endpoints.address}{TARGETS['users']}", token) as results:
            await asyncio.to_thread(new.eventually_ready)
            endpoints.add(new.address)
            await asyncio.sleep(ENDPOINT_DELAY)
            endpoints.remove(old.address)
            await asyncio.sleep(0.5)  # the rest of preStop would be no different
            grace = spec["terminationGracePeriodSeconds"] - pre_stop
            cluster.pods["users"] = new
            status, seconds = await asyncio.to_thread(old.terminate, grace)
            await asyncio.sleep(0.5)
    assert set(results) == {200}, results
    assert results.total() > REQUESTS_PER_SECOND
    assert status == 0
    assert seconds < grace
    assert min(endpoints.connections[pod.address] for pod in (old, new)) > 0


@dataclass(frozen=True)
class Ending:
    """What came of a pod's end.

    Attributes:
        answers: statuses and errors of all requests, counted.
        after: how many of them were answered after the signal.
    """

    answers: Counter[Any]
    after: int
    status: int
    seconds: float


@pytest.fixture(scope="module")
async def endings(cluster: Cluster, token: str) -> dict[str, Ending]:
    """A pod of each service is ended under load, one after the other: each gets all requests."""
    pods = await asyncio.to_thread(cluster.running, *TARGETS)

    async def end(service: str) -> Ending:
        pod = cluster.pods.pop(service)
        async with load(f"http://{pod.address}{TARGETS[service]}", token) as results:
            await asyncio.sleep(1)
            grace = cluster.pod_spec(service)["terminationGracePeriodSeconds"]
            ending = asyncio.create_task(asyncio.to_thread(pod.terminate, grace))
            await asyncio.sleep(ENDPOINT_DELAY)
            before = results.total()
            await asyncio.sleep(ENDPOINT_DELAY)
        return Ending(results, results.total() - before, *await ending)

    return {service: await end(service) for service in pods}


@pytest.mark.parametrize("service", TARGETS)
async def test_no_request_fails_when_a_pod_gets_sigterm(
    cluster: Cluster, endings: dict[str, Ending], service: str
) -> None:
    """Without preStop: the signal comes while the balancer still sends everything here."""
    ending = endings[service]
    assert set(ending.answers) == {200}, ending.answers
    assert ending.after > 0
    assert ending.status == 0
    assert ending.seconds < cluster.pod_spec(service)["terminationGracePeriodSeconds"]


@contextlib.asynccontextmanager
async def load(url: str, token: str) -> AsyncIterator[Counter[Any]]:
    """Callers that together send so many requests a second; counts statuses and errors.

    Each waits for its answer, as callers do: on a machine that is too busy for the rate the load
    is less, instead of a queue that would outlive the pod.
    """
    results: Counter[Any] = Counter()
    ending = asyncio.Event()

    async def call(due: float) -> None:
        while not ending.is_set():
            await asyncio.sleep(due - time.monotonic())
            try:
                response = await client.get(url)
                results[response.status_code] += 1
            except httpx2.HTTPError as error:
                results[repr(error)] += 1
            due = max(due + CALLERS / REQUESTS_PER_SECOND, time.monotonic())

    headers = {"Authorization": f"Bearer {token}"}
    limits = httpx2.Limits(max_connections=CALLERS, max_keepalive_connections=CALLERS)
    async with httpx2.AsyncClient(
        verify=False, headers=headers, limits=limits, timeout=30
    ) as client:
        began = time.monotonic()
        starts = (began + number / REQUESTS_PER_SECOND for number in range(CALLERS))
        running = asyncio.gather(*map(call, starts))
        try:
            yield results
        finally:
            ending.set()
            await running


class EndpointList:
    """Forwards each new connection to one of the listed pods in turn, as kube-proxy does."""

    def __init__(self) -> None:
        self.connections: Counter[str] = Counter()
        self._pods: list[str] = []
        self._forwarding: set[asyncio.Task[None]] = set()
        self._turn = 0

    def add(self, address: str) -> None:
        self._pods.append(address)

    def remove(self, address: str) -> None:
        """No new connections to it; those that are open stay."""
        self._pods.remove(address)

    async def __aenter__(self) -> "EndpointList":
        self._server = await asyncio.start_server(self._forward, "127.0.0.1", 0)
        self.address = "{}:{}".format(*self._server.sockets[0].getsockname())
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()
        await asyncio.gather(*self._forwarding)  # they end with their callers

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._forwarding.add(task)
        self._turn += 1
        pod = self._pods[self._turn % len(self._pods)]
        self.connections[pod] += 1
        host, port = pod.split(":")
        try:
            pod_reader, pod_writer = await asyncio.open_connection(host, int(port))
        except OSError:
            writer.transport.abort()  # the caller sees a failed request, as it should
            return
        await asyncio.gather(_copy(reader, pod_writer), _copy(pod_reader, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
