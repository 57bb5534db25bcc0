"""What holds for each service, whatever it does: headers, errors, probes, documents, limits."""

import json
import re
import uuid
from typing import Any

import pytest
from httpx2 import AsyncClient, Response
from tests.e2e.operations import BODIES, OWN_PATHS, wrong_method
from tests.e2e.people import Person
from tests.e2e.system import SERVICES, StartedSystem, System, logged

from service_testing.postgres import LocalPostgres

every_service = pytest.mark.parametrize("service", SERVICES)
every_readable_service = pytest.mark.parametrize("service", OWN_PATHS)
KINDS = ("answer", "unauthorized", "not-found", "wrong-method")
QUOTA_EXCEEDED = "https://iana.org/assignments/http-problem-types#quota-exceeded"
MOST_REGISTRATIONS = 60
"""A minute from one address, by `@limit` on the route."""


@pytest.mark.parametrize(
    ("service", "kind"),
    [
        *((service, kind) for service in OWN_PATHS for kind in KINDS),
        *((service, "invalid") for service in BODIES),
    ],
)
async def test_every_answer_has_its_id_its_time_and_security_headers(
    somebody: Person, system: System, service: str, kind: str
) -> None:
    answer = await an_answer(somebody, system, service, kind)
    headers = answer.headers
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", headers["x-request-id"])
    assert re.fullmatch(r"\d+\.\d\dms", headers["x-response-time"])
    assert headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["referrer-policy"]
    assert headers["x-frame-options"] == "DENY"
    if answer.status_code >= 400:
        problem = answer.json()
        assert headers["content-type"] == "application/problem+json"
        assert problem["status"] == answer.status_code
        assert problem["request_id"] == headers["x-request-id"]
        assert set(problem) >= {"type", "title", "detail", "instance", "error", "message"}


async def an_answer(person: Person, system: System, service: str, kind: str) -> Response:
    match kind:
        case "answer":
            expected, answer = 200, await person.send(service, "GET", OWN_PATHS[service])
        case "unauthorized":
            expected, answer = 401, await person.http.get(system.api(service, OWN_PATHS[service]))
        case "not-found":
            expected, answer = 404, await person.send(service, "GET", f"/{service}/a/b/c")
        case "wrong-method":
            path = OWN_PATHS[service]
            expected, answer = 405, await person.send(service, wrong_method(service, path), path)
        case _:
            taking, nonsense = BODIES[service], {"nonsense": 1}
            expected = 422
            answer = await person.send(service, taking.method, taking.path, json=nonsense)
    assert answer.status_code == expected, answer.text
    return answer


@every_readable_service
async def test_a_request_id_is_taken_over(http: AsyncClient, system: System, service: str) -> None:
    own = uuid.uuid4().hex
    answer = await http.get(system.api(service, OWN_PATHS[service]), headers={"x-request-id": own})
    assert answer.headers["x-request-id"] == answer.json()["request_id"] == own


@every_readable_service
async def test_limits_are_told(somebody: Person, service: str) -> None:
    answer = await somebody.send(service, "GET", OWN_PATHS[service])
    assert answer.headers["ratelimit-policy"]
    assert answer.headers["ratelimit"]
    limit = int(answer.headers["x-ratelimit-limit"])
    assert 0 <= int(answer.headers["x-ratelimit-remaining"]) < limit
    assert int(answer.headers["x-ratelimit-reset"]) >= 0


@every_readable_service
async def test_a_browser_of_this_machine_may_call_in_development(
    http: AsyncClient, system: System, service: str
) -> None:
    origin = "http://localhost:5173"
    preflight = await http.options(
        system.api(service, OWN_PATHS[service]),
        headers={
            "origin": origin,
            "access-control-request-method": "PATCH",
            "access-control-request-headers": "authorization, content-type, if-match",
        },
    )
    if "access-control-allow-origin" not in preflight.headers and not system.processes:
        pytest.skip("This system is not in development.")
    assert preflight.is_success
    assert preflight.headers["access-control-allow-origin"] in {origin, "*"}
    assert "PATCH" in preflight.headers["access-control-allow-methods"]
    assert "if-match" in preflight.headers["access-control-allow-headers"].lower()
    answer = await http.get(system.api(service, OWN_PATHS[service]), headers={"origin": origin})
    exposed = answer.headers["access-control-expose-headers"].lower()
    assert {"etag", "x-request-id"} <= {name.strip() for name in exposed.split(",")}


@every_readable_service
async def test_head_answers_where_get_does(somebody: Person, service: str) -> None:
    got = await somebody.send(service, "GET", OWN_PATHS[service])
    head = await somebody.send(service, "HEAD", OWN_PATHS[service])
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == got.headers["content-length"]


@every_service
async def test_probes_tell_how_it_is(http: AsyncClient, directly: System, service: str) -> None:
    url = directly.urls[service]
    health = (await http.get(f"{url}/health")).json()
    assert health["status"] == "healthy"
    assert {"database", "redis"} <= set(health["checks"])
    for check in health["checks"].values():
        assert check["status"] == "healthy"
        assert check["response_time_ms"] >= 0
    assert (await http.get(f"{url}/health/live")).json() == {"status": "alive"}
    assert (await http.get(f"{url}/health/ready")).json() == {"status": "ready"}
    assert (await http.get(f"{url}/health/startup")).status_code == 200
    assert (await http.get(f"{url}/version")).json()["version"]


@every_readable_service
async def test_requests_are_counted_by_route(
    somebody: Person, directly: System, service: str
) -> None:
    await somebody.send(service, "GET", OWN_PATHS[service])
    text = (await somebody.http.get(f"{directly.urls[service]}/metrics")).text
    counted = f'http_server_request_duration_seconds_count{{method="GET",route="/api/v1{OWN_PATHS[service]}",status="200"}}'  # noqa: E501
    assert counted in text


@every_service
async def test_documents_need_no_other_host(
    http: AsyncClient, directly: System, service: str
) -> None:
    url = directly.urls[service]
    for page in ("/docs", "/redoc"):
        answer = await http.get(url + page)
        assert answer.status_code == 200
        sources = re.findall(r'(?:src|href)="([^"]+)"', answer.text)
        assert sources
        for source in sources:
            assert source.startswith(("/", "data:")), source
            if source.startswith("/"):
                assert (await http.get(url + source)).status_code == 200, source


@every_service
async def test_every_operation_is_described(
    http: AsyncClient, directly: System, service: str
) -> None:
    document = (await http.get(f"{directly.urls[service]}/api/v1/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    operations: list[dict[str, Any]] = [
        operation for path in document["paths"].values() for operation in path.values()
    ]
    assert operations
    for operation in operations:
        assert operation["summary"]
        for status, answer in operation["responses"].items():
            if int(status) >= 400 and "/auth" not in str(operation.get("tags")):
                assert answer["description"]
    assert "HTTPValidationError" not in json.dumps(document)


@every_readable_service
async def test_a_request_is_one_line_of_json(
    somebody: Person, started: StartedSystem, service: str
) -> None:
    own = uuid.uuid4().hex
    await somebody.send(
        service, "GET", f"{OWN_PATHS[service]}?secret=hidden", {"x-request-id": own}
    )
    process = started.processes[service]
    line = await logged(process, own, logger="access")
    assert line["http.request.method"] == "GET"
    assert line["http.route"] == f"/api/v1{OWN_PATHS[service]}"
    assert line["http.response.status_code"] == 200
    assert line["http.server.request.duration"] > 0
    assert "hidden" not in process.output()
    assert somebody.tokens["access_token"] not in process.output()


@every_service
async def test_browsers_are_told_to_stay_with_tls_where_the_proxy_has_it(
    http: AsyncClient, started: StartedSystem, service: str
) -> None:
    url = f"{started.urls[service]}/health/live"
    encrypted = await http.get(url, headers={"x-forwarded-proto": "https"})
    assert encrypted.headers["strict-transport-security"].startswith("max-age=")
    for said in ({}, {"x-forwarded-proto": "http"}):
        assert "strict-transport-security" not in (await http.get(url, headers=said)).headers


async def test_a_route_has_a_limit_of_its_own_for_each_address(
    http: AsyncClient, started: StartedSystem
) -> None:
    url = started.api("auth", "/auth/register")
    flooding = {"x-forwarded-for": f"2001:db8:{uuid.uuid4().hex[:4]}::1"}
    answers = [await http.post(url, json={}, headers=flooding) for _ in range(70)]
    statuses = [answer.status_code for answer in answers]
    # A window may begin to free places while this runs, so only the first are certain.
    assert statuses[:MOST_REGISTRATIONS] == [422] * MOST_REGISTRATIONS
    assert statuses[MOST_REGISTRATIONS] == 429
    refused = answers[MOST_REGISTRATIONS]
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["type"] == QUOTA_EXCEEDED
    assert refused.json()["request_id"] == refused.headers["x-request-id"]
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert refused.headers["x-ratelimit-limit"] == str(MOST_REGISTRATIONS)
    assert refused.headers["x-ratelimit-remaining"] == "0"
    assert ";r=0;" in refused.headers["ratelimit"]
    assert f";q={MOST_REGISTRATIONS};w=60" in refused.headers["ratelimit-policy"]

    elsewhere = {"x-forwarded-for": f"2001:db8:{uuid.uuid4().hex[:4]}:1::1"}
    assert (await http.post(url, json={}, headers=elsewhere)).status_code == 422
    other_route = f"{started.urls['auth']}/.well-known/jwks.json"
    assert (await http.get(other_route, headers=flooding)).status_code == 200


async def test_a_failure_of_the_service_itself_tells_nothing_but_its_id(
    somebody: Person, started: StartedSystem, postgres_server: LocalPostgres
) -> None:
    """A missing table stands for every mistake that only shows where the service runs."""
    database = postgres_server.url_for(started.database_url("users").rpartition("/")[2])
    postgres_server.execute("ALTER TABLE profiles RENAME TO mislaid", url=database)
    try:
        own = uuid.uuid4().hex
        answer = await somebody.send("users", "GET", OWN_PATHS["users"], {"x-request-id": own})
    finally:
        postgres_server.execute("ALTER TABLE mislaid RENAME TO profiles", url=database)
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-request-id"] == own
    assert answer.headers["x-content-type-options"] == "nosniff"
    problem = answer.json()
    assert (problem["status"], problem["error"]) == (500, "internal_error")
    assert problem["request_id"] == own
    for told in ("profiles", "SELECT", "relation", "Traceback", "sqlalchemy", "asyncpg"):
        assert told not in answer.text
    failure = await logged(started.processes["users"], own, event="unhandled_error")
    assert "UndefinedTable" in json.dumps(failure)
    assert (await somebody.send("users", "GET", OWN_PATHS["users"])).status_code == 200
