"""Input no client should send: a clear refusal from each service, never a failure."""

import asyncio
import gzip
import json
import re
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from http import HTTPStatus
from urllib.parse import urljoin, urlsplit
from uuid import UUID

import pytest
from httpx2 import AsyncClient, Response
from tests.e2e.answers import assert_problem
from tests.e2e.operations import (
    BODIES,
    OWN_PATHS,
    PREFIX,
    TEXT_MEMBERS,
    Operation,
    operations,
    wrong_method,
)
from tests.e2e.people import Person, new_person
from tests.e2e.system import SERVICES, StartedSystem, System, logged

every_service = pytest.mark.parametrize("service", SERVICES)
every_readable_service = pytest.mark.parametrize("service", OWN_PATHS)
every_service_that_takes_json = pytest.mark.parametrize("service", BODIES)
every_service_that_takes_text = pytest.mark.parametrize("service", TEXT_MEMBERS)
LOG_SECONDS = 0.2
"""Lines are written in batches."""


@pytest.fixture(scope="module", autouse=True)
def _logs_stay_readable(system: System) -> Iterator[None]:
    """Whatever is sent in this file: no failure, and a line of a log is one object as before."""
    before = {name: len(each.log_file.read_bytes()) for name, each in system.processes.items()}
    yield
    time.sleep(LOG_SECONDS)
    for name, process in system.processes.items():
        lines = process.log_file.read_bytes()[before[name] :].decode().split("\n")
        for line in filter(None, lines):
            # Control characters, separators, marks of direction: terminals act on all of them.
            assert line.isprintable(), repr(line)
            event = json.loads(line)
            assert event["level"] not in {"error", "critical"}, line
            status = event.get("http.response.status_code", HTTPStatus.OK)
            assert status < HTTPStatus.INTERNAL_SERVER_ERROR, line


async def send(
    person: Person, service: str, content: bytes | AsyncIterator[bytes], **headers: str
) -> Response:
    taking = BODIES[service]
    sent = {
        "authorization": f"Bearer {person.tokens['access_token']}",
        "content-type": "application/json",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    return await person.http.request(
        taking.method, person.system.api(service, taking.path), content=content, headers=sent
    )


@every_service_that_takes_json
@pytest.mark.parametrize(
    "content",
    [b"{", b'{"name": }', b"[1,]", b"\xff\xfe\xfa", b'{"name": "\xc3\x28"}', b"nul", b"\x00"],
    ids=["cut", "no-value", "comma", "not-utf8", "half-utf8", "word", "nul"],
)
async def test_malformed_json(somebody: Person, service: str, content: bytes) -> None:
    assert_problem(await send(somebody, service, content), 400)


@every_service_that_takes_json
@pytest.mark.parametrize("content", [b"", b"null", b"[]", b"1", b'"text"'])
async def test_json_that_is_no_object(somebody: Person, service: str, content: bytes) -> None:
    assert_problem(await send(somebody, service, content), 422)


@every_service_that_takes_text
async def test_an_array_ten_thousand_deep(somebody: Person, service: str) -> None:
    assert_problem(await send(somebody, service, b"[" * 10_000 + b"]" * 10_000), 400)
    member = TEXT_MEMBERS[service][0].encode()
    deep = b'{"%s": %s}' % (member, b'{"a":' * 10_000 + b"1" + b"}" * 10_000)
    assert_problem(await send(somebody, service, deep), 400)


@every_service_that_takes_json
@pytest.mark.parametrize("media_type", ["text/plain", "application/xml", "text/json", "nonsense"])
async def test_a_wrong_media_type(somebody: Person, service: str, media_type: str) -> None:
    answer = await send(somebody, service, b'{"name": "a"}', content_type=media_type)
    assert_problem(answer, 415)


@every_service_that_takes_text
@pytest.mark.parametrize("encoding", ["utf-16", "utf-32-be"])
async def test_json_in_another_encoding(somebody: Person, service: str, encoding: str) -> None:
    content = json.dumps({TEXT_MEMBERS[service][0]: "a"}).encode(encoding)
    assert_problem(await send(somebody, service, content), 400)


@every_service_that_takes_text
async def test_a_compressed_body(somebody: Person, service: str) -> None:
    content = gzip.compress(json.dumps({TEXT_MEMBERS[service][0]: "a"}).encode())
    answer = await send(somebody, service, content, content_encoding="gzip")
    assert_problem(answer, 415)
    assert answer.headers["accept-encoding"] == "identity"


@every_service_that_takes_text
async def test_a_text_too_long(somebody: Person, service: str) -> None:
    name, longest = TEXT_MEMBERS[service]
    content = json.dumps({name: "x" * (longest + 1)}).encode()
    answer = await send(somebody, service, content)
    assert_problem(answer, 422)
    told = {each["field"]: each for each in answer.json()["details"]}
    detail = told[f"body.{name}"]
    assert detail["message"] == f"String should have at most {longest} characters"
    assert detail["type"] == "string_too_long"


@every_service
async def test_the_type_of_a_problem_can_be_opened(
    http: AsyncClient, system: System, service: str
) -> None:
    missing = f"{system.urls[service]}/api/v1/{service}/no/such/path"
    problem = (await http.get(missing)).json()
    page = await http.get(urljoin(missing, problem["type"]))
    assert page.status_code == 200
    assert problem["title"] in page.text


@every_service_that_takes_json
async def test_a_body_too_large(somebody: Person, service: str) -> None:
    assert_problem(await send(somebody, service, b'{"name": "' + b"x" * 2_000_000 + b'"}'), 413)


@every_service_that_takes_json
async def test_a_body_too_large_that_does_not_tell_its_length(
    somebody: Person, system: System, service: str
) -> None:
    taking = BODIES[service]
    chunk = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
    answer = await sent_as_bytes(
        system,
        service,
        f"{taking.method} {PREFIX}{taking.path} HTTP/1.1".encode(),
        b"Authorization: Bearer " + somebody.tokens["access_token"].encode(),
        b"Content-Type: application/json",
        b"Transfer-Encoding: chunked",
        content=chunk * 40 + b"0\r\n\r\n",
    )
    assert_problem(answer, 413)


@every_service_that_takes_text
async def test_nul_bytes_in_text_for_the_database(somebody: Person, service: str) -> None:
    name, _ = TEXT_MEMBERS[service]
    answer = await send(somebody, service, json.dumps({name: "a\0b"}).encode())
    assert_problem(answer, 422)
    assert f"body.{name}" in {each["field"] for each in answer.json()["details"]}


@pytest.mark.parametrize("text", ["%00", "a%00b"])
@pytest.mark.parametrize(
    "operation",
    [each for each in operations() if not each.has_one_address and not each.needs_role],
    ids=str,
)
async def test_nul_bytes_in_a_path(somebody: Person, operation: Operation, text: str) -> None:
    path = re.sub(r"{\w+}", text, operation.path)
    answer = await somebody.send(operation.service, operation.method, path, json={})
    assert_problem(answer, 422)
    # The platform refuses some of these before a route sees them, and then names no field.
    fields = [each["field"] for each in answer.json().get("details", [])]
    assert not fields or any(each.startswith("path.") for each in fields)


async def test_nobody_can_search_for_nul_bytes_or_go_on_from_nowhere(
    http: AsyncClient, started: StartedSystem
) -> None:
    """Not even an admin, who may use every list."""
    admin = await new_person(http, started)
    await started.command("grant-admin", admin.email)
    assert (await admin.log_in()).is_success
    assert (await admin.send("users", "GET", "/users?q=a")).status_code == 200
    assert_problem(await admin.send("auth", "PATCH", "/auth/accounts/%00", json={}), 422)
    lists = [each for each in operations() if each.method == "GET" and each.has_one_address]
    for each in lists:
        for name in each.query:
            answer = await admin.send(each.service, "GET", f"{each.path}?{name}=%00")
            assert_problem(answer, 400 if name == "cursor" else 422)
        if "cursor" in each.query:
            assert_problem(await admin.send(each.service, "GET", f"{each.path}?cursor=AAAA"), 400)
    assert sum("cursor" in each.query for each in lists) > 1


@pytest.mark.parametrize(
    ("form", "error"),
    [
        (b"grant_type=password&username=a%00%40example.com&password=a", "invalid_grant"),
        (b"grant_type=password&username=a%40example.com&password=a%00", "invalid_grant"),
        (b"grant_type=refresh_token&refresh_token=a%00b", "invalid_grant"),
        (b"grant_type=password&username=%ff&password=a", "invalid_request"),
        (b"grant_type=password&username=\xff&password=a", "invalid_request"),
        (b"grant_type=%00", "unsupported_grant_type"),
    ],
)
async def test_forms_of_the_token_endpoint(
    http: AsyncClient, system: System, form: bytes, error: str
) -> None:
    """Its refusals are as OAuth says, not problems (RFC 6749, section 5.2)."""
    headers = {"content-type": "application/x-www-form-urlencoded"}
    answer = await http.post(system.api("auth", "/auth/token"), content=form, headers=headers)
    assert answer.status_code == 400
    assert answer.json()["error"] == error
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-request-id"]


@every_service
@pytest.mark.parametrize("target", ["/api/v1/{}?q=%ff%fe", "/api/v1/{}/%c3%28", "/api/v1/{}?%80"])
async def test_an_address_that_is_not_utf8(
    http: AsyncClient, system: System, service: str, target: str
) -> None:
    assert_problem(await http.get(system.urls[service] + target.format(service)), 400)


@every_service
@pytest.mark.parametrize("target", [b"/api/v1/%s?q=\xff", b"/api/v1/\xc3\x28%s"])
async def test_an_address_with_raw_bytes_in_it(system: System, service: str, target: bytes) -> None:
    line = b"GET %s HTTP/1.1" % (target % service.encode())
    assert_problem(await sent_as_bytes(system, service, line), 400)


@every_service_that_takes_json
async def test_failed_validation_repeats_nothing_of_the_input(
    somebody: Person, service: str
) -> None:
    secret = "s3cr3t-value-nobody-should-see"
    content = json.dumps(
        {"email": secret, "password": [secret], "name": [secret], "full_name": {secret: 1}}
    )
    answer = await send(somebody, service, content.encode())
    assert_problem(answer, 422)
    assert secret not in answer.text


@every_service
@pytest.mark.parametrize(
    "request_id",
    [
        b"a\nX-Injected: b",
        b"a\rX-Injected: b",
        b"a\x00X-Injected: b",
        b"a\r\n X-Injected: b",
        b"a\r\n\tX-Injected: b",
    ],
    ids=["line-feed", "carriage-return", "nul", "folded", "folded-by-tab"],
)
async def test_a_request_id_with_a_line_break_is_refused(
    system: System, service: str, request_id: bytes
) -> None:
    """No HTTP client would send it. Folding is obsolete and refused (RFC 9112, section 5.2)."""
    line = b"GET /api/v1/nothing HTTP/1.1"
    answer = await sent_as_bytes(system, service, line, b"X-Request-ID: " + request_id)
    assert_problem(answer, 400)
    UUID(answer.headers["x-request-id"])
    assert "x-injected" not in answer.headers
    assert "Injected" not in answer.text


@every_service
@pytest.mark.parametrize(
    "request_id",
    [b"\x1b[31mred", b"x" * 65, b"a b", b"\xff", b'{"a":1}', b""],
    ids=["escape", "long", "space", "not-ascii", "json", "empty"],
)
async def test_a_request_id_that_would_forge_a_log_line_is_replaced(
    system: System, service: str, request_id: bytes
) -> None:
    marker = uuid.uuid4().hex
    line = b"GET /api/v1/%s HTTP/1.1" % marker.encode()
    answer = await sent_as_bytes(system, service, line, b"X-Request-ID: " + request_id)
    # Control characters are no part of any header: the server refuses them.
    assert_problem(answer, 400 if b"\x1b" in request_id else 404)
    UUID(answer.headers["x-request-id"])
    if service in system.processes and answer.status_code == 404:
        event = await logged(system.processes[service], marker, logger="access")
        assert event["request_id"] == answer.headers["x-request-id"]


@every_service
@pytest.mark.parametrize(
    "text",
    ["%0a{}%0d%0a", "%1b[31m", "%7f", "%c2%9b31m", "%e2%80%a8", "%e2%80%ae"],
    ids=["line-break", "escape", "delete", "c1", "line-separator", "right-to-left"],
)
async def test_an_address_that_would_forge_a_log_line_is_logged_escaped(
    somebody: Person, system: System, service: str, text: str
) -> None:
    """Also by what JSON leaves as it is, and terminals act on."""
    marker = uuid.uuid4().hex
    answer = await somebody.send(service, "GET", f"/{service}/no/{marker}{text}")
    assert_problem(answer, 404)
    if service in system.processes:
        event = await logged(system.processes[service], marker, logger="access")
        assert event["request_id"] == answer.headers["x-request-id"]
        lines = system.processes[service].output().split("\n")
        assert all(line.isprintable() for line in lines if marker in line)


async def sent_as_bytes(
    system: System, service: str, *head: bytes, content: bytes = b""
) -> Response:
    """The answer to what no HTTP client would send; the host and the end of the head are added."""
    if system.behind_gateway:
        pytest.skip("A gateway answers this itself.")
    address = urlsplit(system.urls[service])
    tls = address.scheme == "https"
    port = address.port or (443 if tls else 80)
    reader, writer = await asyncio.open_connection(address.hostname, port, ssl=tls or None)
    lines = (*head, b"Host: " + address.netloc.encode(), b"Connection: close", b"", b"")
    writer.write(b"\r\n".join(lines) + content)
    try:
        async with asyncio.timeout(10):
            answer = await reader.read()
    finally:
        writer.close()
    top, _, body = answer.partition(b"\r\n\r\n")
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n", top), top
    status, *fields = top.decode("latin-1").split("\r\n")
    headers = [(name, value) for name, _, value in (field.partition(": ") for field in fields)]
    return Response(int(status.split()[1]), headers=headers, content=body)


@every_readable_service
async def test_an_unknown_path_and_a_wrong_method(
    http: AsyncClient, system: System, service: str
) -> None:
    assert_problem(await http.get(f"{system.urls[service]}/api/v1/{service}/no/such/path"), 404)
    path = OWN_PATHS[service]
    wrong = await http.request(wrong_method(service, path), system.api(service, path))
    assert_problem(wrong, 405)
    assert wrong.headers["allow"]


@every_readable_service
@pytest.mark.parametrize(
    "authorization",
    ["Bearer", "Bearer x", "Bearer a.b.c", "Basic eDp5", "Bearer " + "x" * 5_000],
)
async def test_a_token_that_is_none(
    http: AsyncClient, system: System, service: str, authorization: str
) -> None:
    answer = await http.get(
        system.api(service, OWN_PATHS[service]), headers={"authorization": authorization}
    )
    assert_problem(answer, 401)
    assert answer.headers["www-authenticate"].startswith("Bearer")
