"""One trace has a request and all its effects, in every service."""

import json
import secrets
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from httpx2 import AsyncClient
from redis import Redis
from tests.e2e.people import PASSWORD, new_person
from tests.e2e.system import StartedSystem, logged
from tests.e2e.telemetry.calling_service import PATH
from tests.e2e.telemetry.conftest import exporting_to

from service_testing.collector import Collector, ReceivedSpan
from service_testing.services import RunningService

SERVER, CLIENT, PRODUCER, CONSUMER = 2, 3, 4, 5
CALLER = "00f067aa0ba902b7"
"""The span of a caller that is no service of ours."""

WholeTrace = Callable[[str], list[ReceivedSpan]]


def a_body() -> dict[str, str]:
    email = f"trace-{secrets.token_hex(8)}@example.com"
    return {"email": email, "password": PASSWORD, "full_name": "Ada Lovelace"}


def spans_of(spans: Sequence[ReceivedSpan], trace_id: str) -> list[ReceivedSpan]:
    return [span for span in spans if span.trace_id == trace_id]


@pytest.fixture
def whole_trace(system: StartedSystem, collector: Collector) -> WholeTrace:
    """Waits for the spans of a trace: every consumer has done its part, all parents are there."""
    with Redis.from_url(system.redis.url, decode_responses=True) as redis:
        consumers = {group["name"] for group in redis.xinfo_groups("events:{auth}")}
    assert "users" in consumers

    def wait_for(trace_id: str) -> list[ReceivedSpan]:
        def is_whole(spans: list[ReceivedSpan]) -> list[ReceivedSpan]:
            found = spans_of(spans, trace_id)
            complete = {span.service for span in found if span.name == "process auth"} == consumers
            complete &= {SERVER, PRODUCER} <= {span.kind for span in found}
            complete &= "send auth" in {span.name for span in found}
            known = {span.span_id for span in found} | {"", CALLER}
            return found if complete and all(span.parent_id in known for span in found) else []

        whole: list[ReceivedSpan] = collector.wait_for(is_whole)
        return whole

    return wait_for


def only(spans: Sequence[ReceivedSpan], **wanted: Any) -> ReceivedSpan:
    """The one span with these members."""
    found = [
        each for each in spans if all(getattr(each, key) == value for key, value in wanted.items())
    ]
    assert len(found) == 1, [(each.service, each.name) for each in spans]
    return found[0]


def children(spans: Sequence[ReceivedSpan], parent: ReceivedSpan) -> list[ReceivedSpan]:
    """Everything below a span."""
    direct = [each for each in spans if each.parent_id == parent.span_id]
    return direct + [each for child in direct for each in children(spans, child)]


def log_lines(system: StartedSystem, text: str) -> list[dict[str, Any]]:
    lines = [
        line
        for process in system.processes.values()
        for line in process.output().splitlines()
        if text in line
    ]
    return [json.loads(line) for line in lines]


APPLIED = {"INSERT inbox", "COMMIT"}
"""Statements of each consumer that has something to do for an event."""


def require_effects(
    spans: Sequence[ReceivedSpan], request: ReceivedSpan, event: str, statement: str
) -> None:
    """A request of auth, its SQL, the event's way and the consumers with their SQL are one tree.

    Args:
        spans: all of the trace.
        request: the request of auth.
        event: its type.
        statement: what users does for it.
    """
    inside = children(spans, request)
    own = {each.name for each in inside if each.service == "auth" and each.kind == CLIENT}
    assert {"INSERT outbox", "COMMIT"} <= own
    created = only(spans, name=f"create {event}", kind=PRODUCER)
    assert created in inside
    link = (created.trace_id, created.span_id)
    sent = only(spans, name="send auth", kind=PRODUCER, service="auth")
    assert (sent.parent_id, sent.links) == (created.span_id, [link])
    assert {"EVALSHA", "UPDATE outbox"} <= {each.name for each in children(spans, sent)}
    for service in {each.service for each in spans if each.name == "process auth"}:
        processed = only(spans, name="process auth", kind=CONSUMER, service=service)
        assert (processed.parent_id, processed.links) == (created.span_id, [link])
        below = children(spans, processed)
        assert {each.service for each in below} <= {service}
        statements = {each.name for each in below}
        assert not statements or statements >= APPLIED
        assert service != "users" or statement in statements


@pytest.fixture
async def http() -> AsyncIterator[AsyncClient]:
    async with AsyncClient(timeout=30, trust_env=False) as client:
        yield client


async def test_an_account_is_one_trace_from_the_request_to_its_last_effect(
    system: StartedSystem, collector: Collector, http: AsyncClient, whole_trace: WholeTrace
) -> None:
    answer = await http.post(f"{system.urls['auth']}{PATH}", json=a_body())
    assert answer.status_code == 201, answer.text
    request_id = answer.headers["x-request-id"]
    access = await logged(system.processes["auth"], request_id, event="request")
    trace_id = access["trace_id"]
    spans = whole_trace(trace_id)
    register = only(spans, kind=SERVER)
    assert (register.name, register.parent_id, register.service) == (f"POST {PATH}", "", "auth")
    assert register.attributes["http.response.header.x-request-id"] == [request_id]
    require_effects(spans, register, "account.registered", "INSERT profiles")
    ids = {span.span_id for span in spans}
    told = log_lines(system, request_id)
    assert {line["trace_id"] for line in told} == {trace_id}
    assert {"account_registered", "request"} <= {line["event"] for line in told}
    assert {line["span_id"] for line in told} <= ids
    assert access["span_id"] == register.span_id


async def test_the_end_of_an_account_is_one_trace_with_what_every_service_erases(
    system: StartedSystem, collector: Collector, http: AsyncClient, whole_trace: WholeTrace
) -> None:
    person = await new_person(http, system)
    trace_id = secrets.token_hex(16)
    answer = await person.send(
        "auth",
        "DELETE",
        "/auth/me",
        headers={"traceparent": f"00-{trace_id}-{CALLER}-01"},
        json={"password": PASSWORD},
    )
    assert answer.status_code == 204, answer.text
    spans = whole_trace(trace_id)
    closing = only(spans, kind=SERVER)
    assert closing.name == "DELETE /api/v1/auth/me"
    require_effects(spans, closing, "account.closed", "DELETE profiles")


@pytest.fixture
def calling_service(
    system: StartedSystem, collector: Collector, tmp_path: Path
) -> Iterator[RunningService]:
    environment = {
        "PROJECT_NAME": "caller",
        "ENVIRONMENT": "test",
        "AUTH_URL": system.urls["auth"],
        "RATE_LIMIT_ENABLED": "false",
        **exporting_to(collector),
    }
    service = RunningService(
        "tests.e2e.telemetry.calling_service:create_app", environment, tmp_path
    )
    yield service.start()
    service.stop()


async def test_a_call_by_the_service_client_is_in_the_trace_of_its_caller(
    system: StartedSystem,
    collector: Collector,
    calling_service: RunningService,
    http: AsyncClient,
    whole_trace: WholeTrace,
) -> None:
    answer = await http.post(f"{calling_service.url}/api/v1/sign-up")
    assert (answer.status_code, answer.json()) == (200, 201)
    request_id = answer.headers["x-request-id"]
    access = await logged(system.processes["auth"], request_id, event="request")
    collector.wait_for(lambda spans: [each for each in spans if each.service == "caller"][2:])
    spans = whole_trace(access["trace_id"])
    sign_up = only(spans, kind=SERVER, service="caller")
    call = only(spans, kind=CLIENT, service="caller")
    register = only(spans, kind=SERVER, service="auth")
    assert sign_up.parent_id == ""
    assert call in children(spans, sign_up)
    assert call.attributes["url.full"] == f"{system.urls['auth']}{PATH}"
    assert register.parent_id == call.span_id
    require_effects(spans, register, "account.registered", "INSERT profiles")


async def test_a_sampled_trace_of_a_caller_is_continued(
    system: StartedSystem, collector: Collector, http: AsyncClient, whole_trace: WholeTrace
) -> None:
    trace_id = secrets.token_hex(16)
    headers = {"traceparent": f"00-{trace_id}-{CALLER}-01", "tracestate": "vendor=1"}
    answer = await http.post(f"{system.urls['auth']}{PATH}", json=a_body(), headers=headers)
    assert answer.status_code == 201, answer.text
    spans = whole_trace(trace_id)
    register = only(spans, kind=SERVER)
    assert register.parent_id == CALLER
    require_effects(spans, register, "account.registered", "INSERT profiles")


async def test_of_a_trace_that_is_not_sampled_only_the_ids_are_passed_on(
    system: StartedSystem, collector: Collector, http: AsyncClient, whole_trace: WholeTrace
) -> None:
    unsampled, sampled = secrets.token_hex(16), secrets.token_hex(16)
    url = f"{system.urls['auth']}{PATH}"
    headers = {"traceparent": f"00-{unsampled}-{CALLER}-00"}
    answer = await http.post(url, json=a_body(), headers=headers)
    assert answer.status_code == 201, answer.text
    request_id = answer.headers["x-request-id"]
    refused = await http.post(url, json={}, headers=headers)
    assert (refused.status_code, refused.json()["trace_id"]) == (422, unsampled)
    # Events are applied in their order: when the next is, this one is.
    headers = {"traceparent": f"00-{sampled}-{CALLER}-01"}
    assert (await http.post(url, json=a_body(), headers=headers)).status_code == 201
    whole_trace(sampled)
    assert spans_of(collector.spans, unsampled) == []
    access = await logged(system.processes["auth"], request_id, event="request")
    assert (access["trace_id"], access["span_id"]) == (unsampled, CALLER)


async def test_probes_and_scrapes_are_in_no_trace(
    system: StartedSystem, collector: Collector, http: AsyncClient
) -> None:
    for path in ("/health", "/health/live", "/health/ready", "/metrics"):
        assert (await http.get(f"{system.urls['auth']}{path}")).status_code == 200
    trace_id = secrets.token_hex(16)
    headers = {"traceparent": f"00-{trace_id}-{CALLER}-01"}
    assert (await http.get(f"{system.urls['auth']}/version", headers=headers)).status_code == 200
    collector.wait_for(lambda spans: spans_of(spans, trace_id))
    paths = {span.attributes.get("url.path", "") for span in collector.spans}
    assert not any(path.startswith(("/health", "/metrics")) for path in paths)
