"""What holds for each service, whatever it does: headers, errors, probes, documents, limits."""

import asyncio
import json
import re
import uuid
from typing import Any

import pytest
from httpx2 import AsyncClient, Response
from tests.e2e.conftest import SERVICES, Person, System

every_service = pytest.mark.parametrize("service", SERVICES)
OWN_PATHS = {"auth": "/auth/me", "users": "/users/me", "items": "/items"}


@pytest.fixture
def directly(system: System) -> System:
    """The services without a gateway before them, which lets no probe through."""
    if system.behind_gateway:
        pytest.skip("Probes, metrics and documents stay behind the gateway.")
    return system


def api(system: System, service: str, path: str = "") -> str:
    return f"{system.urls[service]}/api/v1{path or OWN_PATHS[service]}"


@every_service
@pytest.mark.parametrize("kind", ["answer", "unauthorized", "not-found", "wrong-method", "invalid"])
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
            expected, answer = 401, await person.http.get(api(system, service))
        case "not-found":
            expected, answer = 404, await person.send(service, "GET", f"/{service}/a/b/c")
        case "wrong-method":
            expected, answer = 405, await person.send(service, "PUT", OWN_PATHS[service])
        case _:
            expected, answer = 422, await invalid(person, service)
    assert answer.status_code == expected, answer.text
    return answer


async def invalid(person: Person, service: str) -> Response:
    method, path = {
        "auth": ("POST", "/auth/register"),
        "users": ("PATCH", "/users/me"),
        "items": ("POST", "/items"),
    }[service]
    return await person.send(service, method, path, json={"nonsense": 1})


@every_service
async def test_a_request_id_is_taken_over(http: AsyncClient, system: System, service: str) -> None:
    own = uuid.uuid4().hex
    answer = await http.get(api(system, service), headers={"x-request-id": own})
    assert answer.headers["x-request-id"] == answer.json()["request_id"] == own


@every_service
async def test_limits_are_told(somebody: Person, service: str) -> None:
    answer = await somebody.send(service, "GET", OWN_PATHS[service])
    assert answer.headers["ratelimit-policy"]
    assert answer.headers["ratelimit"]
    limit = int(answer.headers["x-ratelimit-limit"])
    assert 0 <= int(answer.headers["x-ratelimit-remaining"]) < limit
    assert int(answer.headers["x-ratelimit-reset"]) >= 0


@every_service
async def test_a_browser_of_this_machine_may_call_in_development(
    http: AsyncClient, system: System, service: str
) -> None:
    origin = "http://localhost:5173"
    preflight = await http.options(
        api(system, service),
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
    answer = await http.get(api(system, service), headers={"origin": origin})
    exposed = answer.headers["access-control-expose-headers"].lower()
    assert {"etag", "x-request-id"} <= {name.strip() for name in exposed.split(",")}


@every_service
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


@every_service
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


@every_service
async def test_a_request_is_one_line_of_json(
    somebody: Person, system: System, service: str
) -> None:
    if not system.processes:
        pytest.skip("The logs of this system are elsewhere.")
    own = uuid.uuid4().hex
    await somebody.send(
        service, "GET", f"{OWN_PATHS[service]}?secret=hidden", {"x-request-id": own}
    )
    process = system.processes[service]
    line = await the_line_with(process, own)
    assert line["http.request.method"] == "GET"
    assert line["http.route"] == f"/api/v1{OWN_PATHS[service]}"
    assert line["http.response.status_code"] == 200
    assert line["http.server.request.duration"] > 0
    assert "hidden" not in process.output()
    assert somebody.tokens["access_token"] not in process.output()


async def the_line_with(process: Any, request_id: str) -> dict[str, Any]:
    """The access log's line of a request; lines are written in batches."""
    async with asyncio.timeout(10):
        while True:
            for text in process.output().splitlines():
                if request_id in text:
                    line: dict[str, Any] = json.loads(text)
                    return line
            await asyncio.sleep(0.05)
