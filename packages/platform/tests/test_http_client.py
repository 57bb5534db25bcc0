"""Calls to another service, over real connections to a real server."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.utils import formatdate

import httpx2
import pytest
import uvicorn
from prometheus_client import REGISTRY
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from service_platform.app import create_app
from service_platform.context import RequestContext, current
from service_platform.errors import GatewayTimeout, ServiceUnavailable
from service_platform.http_circuit_breaker import (
    FEWEST_ATTEMPTS,
    CircuitBreaker,
    CircuitState,
)
from service_platform.http_client import RETRY_RESERVE, ServiceClient
from service_platform.identity import ServiceTokens
from service_platform.server.listening import listen
from service_platform.settings import PlatformSettings


class Other:
    """Another service, whose misfortunes the test decides."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.failures = 0
        self.status = 503
        self.headers: dict[str, str] = {}
        self.with_failures: dict[str, str] = {}
        self.hanging = False

    async def answer(self, request: Request) -> Response:
        self.calls[request.method] += 1
        self.headers = dict(request.headers)
        if self.failures:
            self.failures -= 1
            return Response(status_code=self.status, headers=self.with_failures)
        return JSONResponse({"ok": True})

    async def hang(self, _: Request) -> Response:
        self.hanging = True
        await asyncio.sleep(30)
        return Response()


@asynccontextmanager
async def serving(other: Other) -> AsyncIterator[str]:
    (listener,) = listen("127.0.0.1", 0)
    routes = [
        Route("/thing", other.answer, methods=["GET", "POST", "PUT"]),
        Route("/hang", other.hang),
    ]
    config = uvicorn.Config(Starlette(routes=routes), log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    task = asyncio.create_task(server._serve([listener]))
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = server.force_exit = True
    await task


@pytest.fixture
def other() -> Other:
    return Other()


@pytest.fixture
async def client(other: Other) -> AsyncIterator[ServiceClient]:
    async with serving(other) as url:
        client = ServiceClient(PlatformSettings(project_name="users"), url, timeout_seconds=3)
        await client.start()
        yield client
        await client.stop()


async def test_an_answer_comes_back(client: ServiceClient, other: Other) -> None:
    assert (await client.request("GET", "/thing")).json() == {"ok": True}
    assert other.headers["user-agent"] == "users/0.1.0"


async def test_a_wrong_request_is_not_repeated(client: ServiceClient, other: Other) -> None:
    other.failures, other.status = 5, 404
    assert (await client.request("GET", "/thing")).status_code == 404
    assert other.calls["GET"] == 1


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_a_passing_failure_is_not_seen(
    client: ServiceClient, other: Other, status: int
) -> None:
    other.failures, other.status = 2, status
    assert (await client.request("GET", "/thing")).status_code == 200
    assert other.calls["GET"] == 3


@pytest.mark.parametrize("form", ["seconds", "date"])
async def test_a_service_is_not_asked_again_before_the_time_it_names(
    client: ServiceClient, other: Other, form: str
) -> None:
    began = time.time()
    # A date has no fractions: up to a second of the two is lost.
    named = formatdate(began + 2, usegmt=True) if form == "date" else "1"
    other.failures, other.with_failures = 1, {"retry-after": named}
    assert (await client.request("GET", "/thing")).status_code == 200
    assert time.time() - began >= 1
    assert other.calls["GET"] == 2


@pytest.mark.parametrize("named", ["3600", "Wed, 21 Oct 2099 07:28:00 GMT"])
async def test_a_time_beyond_the_deadline_is_not_waited_for(
    client: ServiceClient, other: Other, named: str
) -> None:
    other.failures, other.with_failures = 1, {"retry-after": named}
    with pytest.raises(ServiceUnavailable):
        await client.request("GET", "/thing")
    assert other.calls["GET"] == 1


async def test_a_time_that_cannot_be_read_is_ignored(client: ServiceClient, other: Other) -> None:
    other.failures, other.with_failures = 2, {"retry-after": "soon"}
    assert (await client.request("GET", "/thing")).status_code == 200


async def test_what_may_have_an_effect_is_sent_once(client: ServiceClient, other: Other) -> None:
    other.failures = 1
    with pytest.raises(ServiceUnavailable):
        await client.request("POST", "/thing", json={})
    assert other.calls["POST"] == 1


async def test_with_an_idempotency_key_it_may_be_repeated(
    client: ServiceClient, other: Other
) -> None:
    other.failures = 1
    answer = await client.request("POST", "/thing", json={}, headers={"Idempotency-Key": "k"})
    assert answer.status_code == 200
    assert other.calls["POST"] == 2


async def test_a_service_that_stays_away_is_503(other: Other) -> None:
    async with serving(other) as url:
        pass
    client = ServiceClient(PlatformSettings(), url, timeout_seconds=2)
    with pytest.raises(ServiceUnavailable):
        await client.request("POST", "/thing")
    await client.stop()


async def test_a_service_that_hangs_is_504(other: Other) -> None:
    async with serving(other) as url:
        client = ServiceClient(PlatformSettings(), url, timeout_seconds=0.1)
        with pytest.raises(GatewayTimeout):
            await client.request("GET", "/hang")
        await client.stop()


async def test_retries_are_a_share_of_all_calls(client: ServiceClient, other: Other) -> None:
    other.failures, other.status = 1_000, 429  # which does not open the circuit
    for _ in range(20):
        with pytest.raises(ServiceUnavailable):
            await client.request("GET", "/thing")
    assert other.calls["GET"] <= 20 + RETRY_RESERVE + 2


async def test_request_id_trace_and_time_left_travel_along(
    client: ServiceClient, other: Other
) -> None:
    loop = asyncio.get_running_loop()
    context = RequestContext({}, {}, settings=PlatformSettings(), deadline=loop.time() + 1.0)
    reset = current.set(context)
    await client.request("GET", "/thing")
    current.reset(reset)
    assert other.headers["x-request-id"] == context.request_id
    assert other.headers["traceparent"] == context.traceparent
    assert 0 < float(other.headers["x-request-timeout"]) <= 1.0


async def test_the_callers_deadline_is_kept(client: ServiceClient) -> None:
    loop = asyncio.get_running_loop()
    context = RequestContext({}, {}, settings=PlatformSettings(), deadline=loop.time() + 0.1)
    reset = current.set(context)
    with pytest.raises(GatewayTimeout):
        await client.request("GET", "/hang")
    current.reset(reset)


async def test_redirects_are_answers() -> None:
    client = ServiceClient(
        PlatformSettings(),
        "http://other",
        transport=httpx2.MockTransport(
            lambda _: httpx2.Response(302, headers={"location": "http://evil"})
        ),
    )
    assert (await client.request("GET", "/")).status_code == 302
    await client.stop()


async def test_clients_of_two_services_on_one_host_are_two_resources() -> None:
    users, orders = Other(), Other()
    async with serving(users) as users_url, serving(orders) as orders_url:
        settings = PlatformSettings(_env_file=None, environment="test", rate_limit_enabled=False)
        clients = [ServiceClient(settings, users_url), ServiceClient(settings, orders_url)]
        clients.append(ServiceClient(settings, orders_url, name="catalogue"))
        app = create_app(settings, resources=clients)
        async with app.router.lifespan_context(app):
            for client in clients:
                assert getattr(app.state, client.name) is client
                assert (await client.request("GET", "/thing")).json() == {"ok": True}
    assert (users.calls["GET"], orders.calls["GET"]) == (1, 2)
    assert clients[2].name == "catalogue"


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("http://localhost:8001", "localhost_8001_client"),
        ("http://localhost:8004", "localhost_8004_client"),
        ("http://orders", "orders_client"),
        ("https://api.my-shop.example", "api_my_shop_example_client"),
        ("http://[::1]:80", "__1_80_client"),
    ],
)
def test_the_name_of_a_client_is_host_and_port(url: str, name: str) -> None:
    assert ServiceClient(PlatformSettings(), url).name == name


def attempts_of(client: ServiceClient) -> dict[tuple[str, str], float]:
    """Returns how many attempts the client made, by method and outcome."""
    name = "http_client_request_duration_seconds"
    return {
        (sample.labels["method"], sample.labels["outcome"]): sample.value
        for family in REGISTRY.collect()
        if family.name == name
        for sample in family.samples
        if sample.name == f"{name}_count" and sample.labels["service"] == client.name
    }


def retries_of(client: ServiceClient) -> float | None:
    return REGISTRY.get_sample_value("http_client_retries_total", {"service": client.name})


def state_of(client: ServiceClient) -> CircuitState:
    return client._circuit.state


async def call(client: ServiceClient, method: str = "GET", path: str = "/thing") -> object:
    """Returns the status of the answer, or the class of what was raised."""
    try:
        return (await client.request(method, path)).status_code
    except (GatewayTimeout, ServiceUnavailable) as error:
        return type(error)


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def with_clock(client: ServiceClient) -> Clock:
    clock = Clock()
    client._circuit = CircuitBreaker(client.name, clock=clock)
    return clock


async def test_every_attempt_is_measured_by_its_outcome(
    client: ServiceClient, other: Other
) -> None:
    other.failures = 2
    await call(client)
    other.failures, other.status = 1, 404
    await call(client, "PUT")
    assert attempts_of(client) == {("GET", "503"): 2, ("GET", "200"): 1, ("PUT", "404"): 1}
    assert retries_of(client) == 2


async def test_an_attempt_without_an_answer_is_measured_by_its_reason(other: Other) -> None:
    async with serving(other) as url, asyncio.timeout(20):
        client = ServiceClient(PlatformSettings(), url, timeout_seconds=0.1, name="hangs")
        assert await call(client, path="/hang") is GatewayTimeout
        assert attempts_of(client) == {("GET", "timeout"): 1}
        await client.stop()
        client, other.hanging = ServiceClient(PlatformSettings(), url, name="left"), False
        calling = asyncio.create_task(client.request("GET", "/hang"))
        while not other.hanging:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        calling.cancel()
        await asyncio.wait([calling])
        assert attempts_of(client) == {("GET", "cancelled"): 1}
        await client.stop()
    client = ServiceClient(PlatformSettings(), url, name="away", attempts=1)
    assert await call(client) is ServiceUnavailable
    assert attempts_of(client) == {("GET", "connect_error"): 1}
    await client.stop()


@asynccontextmanager
async def breaking_off() -> AsyncIterator[str]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_a_service_that_breaks_off_opens_the_circuit() -> None:
    async with breaking_off() as url:
        client = ServiceClient(PlatformSettings(), url, name="breaks_off")
        with_clock(client)
        for _ in range(FEWEST_ATTEMPTS):
            assert await call(client, "POST") is ServiceUnavailable
        assert attempts_of(client) == {("POST", "broken_off"): FEWEST_ATTEMPTS}
        assert state_of(client) is CircuitState.OPEN
        await client.stop()


@pytest.mark.parametrize("status", [502, 503, 504])
async def test_a_service_that_fails_is_not_called_for_a_while(
    client: ServiceClient, other: Other, status: int
) -> None:
    clock = with_clock(client)
    other.failures, other.status = 1_000, status
    for _ in range(FEWEST_ATTEMPTS):
        await call(client, "POST")
    other.failures = 0
    for _ in range(5):
        with pytest.raises(ServiceUnavailable) as refused:
            await client.request("GET", "/thing")
        assert refused.value.headers is not None
        assert refused.value.headers["retry-after"] in {"1", "2"}
    assert other.calls == {"POST": FEWEST_ATTEMPTS}
    assert attempts_of(client)["GET", "circuit_open"] == 5
    clock.now += 2
    assert await call(client) == 200
    assert state_of(client) is CircuitState.CLOSED


async def test_a_service_that_is_away_opens_the_circuit(other: Other) -> None:
    async with serving(other) as url:
        pass
    client = ServiceClient(PlatformSettings(), url, name="is_away")
    with_clock(client)
    for _ in range(FEWEST_ATTEMPTS):
        await call(client)
    assert state_of(client) is CircuitState.OPEN
    assert attempts_of(client)["GET", "connect_error"] == FEWEST_ATTEMPTS
    await client.stop()


async def test_a_call_of_an_open_circuit_spends_no_retry(
    client: ServiceClient, other: Other
) -> None:
    with_clock(client)
    other.failures = 1_000
    for _ in range(FEWEST_ATTEMPTS - 1):
        await call(client, "POST")
    left = client._retries_left
    await call(client)  # opens it, and is not tried again
    assert state_of(client) is CircuitState.OPEN
    for _ in range(5):
        await call(client)
    assert client._retries_left >= left
    assert retries_of(client) == 0


@pytest.mark.parametrize("status", [400, 401, 404, 409, 429, 500])
async def test_a_service_that_answers_is_called(
    client: ServiceClient, other: Other, status: int
) -> None:
    other.failures, other.status = 1_000, status
    for _ in range(2 * FEWEST_ATTEMPTS):
        await call(client, "POST")
    assert other.calls["POST"] == 2 * FEWEST_ATTEMPTS
    assert state_of(client) is CircuitState.CLOSED


async def test_a_service_that_hangs_opens_the_circuit(other: Other) -> None:
    async with serving(other) as url:
        client = ServiceClient(PlatformSettings(), url, timeout_seconds=0.1, name="hangs_again")
        with_clock(client)
        for _ in range(5 * FEWEST_ATTEMPTS):  # one that a busy machine held up does not count
            assert await call(client, path="/hang") is GatewayTimeout
            if state_of(client) is CircuitState.OPEN:
                break
        assert state_of(client) is CircuitState.OPEN
        assert await call(client) is ServiceUnavailable
        await client.stop()


async def test_a_caller_in_a_hurry_does_not_open_the_circuit(client: ServiceClient) -> None:
    loop = asyncio.get_running_loop()
    for _ in range(2 * FEWEST_ATTEMPTS):
        context = RequestContext({}, {}, settings=PlatformSettings(), deadline=loop.time() + 0.01)
        reset = current.set(context)
        assert await call(client, path="/hang") is GatewayTimeout
        current.reset(reset)
    assert state_of(client) is CircuitState.CLOSED


async def test_a_wrong_header_does_not_open_the_circuit(client: ServiceClient) -> None:
    for _ in range(2 * FEWEST_ATTEMPTS):
        with pytest.raises(ServiceUnavailable):
            await client.request("POST", "/thing", headers={"x-note": "two\nlines"})
    assert state_of(client) is CircuitState.CLOSED


async def test_without_a_token_nothing_is_known_of_the_service(other: Other) -> None:
    settings = PlatformSettings()
    transport = httpx2.MockTransport(lambda _: httpx2.Response(503))
    tokens = ServiceTokens(settings, transport=transport)
    async with serving(other) as url:
        client = ServiceClient(settings, url, tokens=tokens, name="without_token")
        for _ in range(2 * FEWEST_ATTEMPTS):
            assert await call(client) is ServiceUnavailable
        assert state_of(client) is CircuitState.CLOSED
        assert attempts_of(client) == {}
        await client.stop()


async def test_a_probe_whose_caller_leaves_lets_the_next_one_through(
    client: ServiceClient, other: Other
) -> None:
    clock = with_clock(client)
    other.failures = FEWEST_ATTEMPTS
    for _ in range(FEWEST_ATTEMPTS):
        await call(client, "POST")
    clock.now += 2
    probe = asyncio.create_task(client.request("GET", "/hang"))
    async with asyncio.timeout(20):
        while not other.hanging:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert await call(client) is ServiceUnavailable
    assert other.calls["GET"] == 0
    probe.cancel()
    await asyncio.wait([probe])
    assert await call(client) == 200
    assert state_of(client) is CircuitState.CLOSED
