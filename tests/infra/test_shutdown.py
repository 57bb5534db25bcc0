"""Ending a pod under load: 200 requests a second, and none of them may fail.

The pods are those of the manifests with the production images, PostgreSQL and Valkey. Kubernetes'
part is played here: `EndpointList` forwards connections to the pods that are listed, as kube-proxy
does, and forgets a pod some time after its end has begun, while the pod still gets connections.
"""

import asyncio
import base64
import contextlib
import json
import time
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

REQUESTS_PER_SECOND = 200
CALLERS = 40
ENDPOINT_DELAY = 1.0
"""How late a balancer hears of the end of a pod."""

TARGETS = {"auth": "/api/v1/auth/me", "users": "/api/v1/users/me", "items": "/api/v1/items"}
UNLIMITED = {"RATE_LIMIT_REQUESTS": "1000000"}


@pytest.fixture(scope="module")
def auth(cluster: Any) -> Any:
    pod = cluster.start("auth", suffix="-tokens", environment=UNLIMITED)
    pod.eventually_ready()
    return pod


@pytest.fixture(scope="module")
def token(auth: Any) -> str:
    account = {"email": "load@example.com", "password": "a long walk by the sea 42"}
    send(auth, "/api/v1/auth/register", json.dumps(account), "application/json")
    form = f"grant_type=password&username={account['email']}&password=a+long+walk+by+the+sea+42"
    answer = send(auth, "/api/v1/auth/token", form, "application/x-www-form-urlencoded")
    return str(answer["access_token"])


def send(pod: Any, path: str, body: str, media_type: str) -> dict[str, Any]:
    request = urllib.request.Request(
        f"http://{pod.address}{path}", body.encode(), {"Content-Type": media_type}
    )
    with urllib.request.urlopen(request) as response:
        return dict(json.load(response))


def test_the_token_of_the_load_is_what_services_expect(token: str) -> None:
    claims = token.split(".")[1]
    decoded = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
    assert set(TARGETS) <= set(decoded["aud"])


@pytest.mark.parametrize("service", TARGETS)
async def test_no_request_fails_when_a_pod_gets_sigterm(
    cluster: Any, token: str, service: str
) -> None:
    """Without preStop: the signal comes while the balancer still sends everything here."""
    pod = await asyncio.to_thread(cluster.start, service, suffix="-ending", environment=UNLIMITED)
    await asyncio.to_thread(pod.eventually_ready)
    grace = cluster.pod_spec(service)["terminationGracePeriodSeconds"]
    async with load(f"http://{pod.address}{TARGETS[service]}", token) as results:
        await asyncio.sleep(3)
        ending = asyncio.create_task(asyncio.to_thread(pod.terminate, grace))
        await asyncio.sleep(ENDPOINT_DELAY)
        sent_after_the_signal = results.total()
        await asyncio.sleep(ENDPOINT_DELAY)
    assert results.total() > sent_after_the_signal
    assert set(results) == {200}, results
    status, seconds = await ending
    assert status == 0
    assert seconds < grace


async def test_no_request_fails_while_one_pod_takes_over_from_another(
    cluster: Any, token: str
) -> None:
    """A rolling update with `maxUnavailable: 0`: the new pod is ready before the old one ends."""
    spec = cluster.pod_spec("items")
    pre_stop = spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    old = await asyncio.to_thread(cluster.start, "items", suffix="-old", environment=UNLIMITED)
    await asyncio.to_thread(old.eventually_ready)
    async with EndpointList() as endpoints:
        endpoints.add(old.address)
        async with load(f"http://{endpoints.address}{TARGETS['items']}", token) as results:
            await asyncio.sleep(2)
            new = await asyncio.to_thread(
                cluster.start, "items", suffix="-new", environment=UNLIMITED
            )
            await asyncio.to_thread(new.eventually_ready)
            endpoints.add(new.address)
            await asyncio.sleep(ENDPOINT_DELAY)
            endpoints.remove(old.address)
            await asyncio.sleep(pre_stop - ENDPOINT_DELAY)
            grace = spec["terminationGracePeriodSeconds"] - pre_stop
            status, seconds = await asyncio.to_thread(old.terminate, grace)
            await asyncio.sleep(1)
    assert set(results) == {200}, results
    assert results.total() > REQUESTS_PER_SECOND
    assert status == 0
    assert seconds < grace
    assert min(endpoints.connections[pod.address] for pod in (old, new)) > 0


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
    async with httpx2.AsyncClient(headers=headers, limits=limits, timeout=30) as client:
        began = time.monotonic()
        callers = [call(began + number / REQUESTS_PER_SECOND) for number in range(CALLERS)]
        running = asyncio.gather(*callers)
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
