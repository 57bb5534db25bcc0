"""Input no client should send: a clear refusal from each service, never a failure."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from urllib.parse import urlsplit
from uuid import UUID

import pytest
from httpx2 import AsyncClient, Response
from tests.e2e.conftest import Person, System

BODIES = {
    "auth": ("POST", "/api/v1/auth/register"),
    "users": ("PATCH", "/api/v1/users/me"),
    "items": ("POST", "/api/v1/items"),
}
"""A route of each service that takes JSON."""
TEXT_MEMBER = {"auth": "full_name", "users": "full_name", "items": "name"}
every_service = pytest.mark.parametrize("service", sorted(BODIES))


def assert_problem(answer: Response, *expected: int) -> None:
    assert answer.status_code in expected, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == answer.status_code
    assert problem["message"] == problem["detail"]
    assert problem["request_id"] == answer.headers["x-request-id"]
    for name in ("type", "title", "instance", "error"):
        assert problem[name]


async def send(
    person: Person, service: str, content: bytes | AsyncIterator[bytes], **headers: str
) -> Response:
    method, path = BODIES[service]
    sent = {
        "authorization": f"Bearer {person.tokens['access_token']}",
        "content-type": "application/json",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    return await person.http.request(
        method, person.urls[service] + path, content=content, headers=sent
    )


@every_service
@pytest.mark.parametrize(
    "content",
    [b"{", b'{"name": }', b"[1,]", b"\xff\xfe\xfa", b'{"name": "\xc3\x28"}', b"nul", b"\x00"],
    ids=["cut", "no-value", "comma", "not-utf8", "half-utf8", "word", "nul"],
)
async def test_malformed_json(somebody: Person, service: str, content: bytes) -> None:
    assert_problem(await send(somebody, service, content), 400, 422)


@every_service
@pytest.mark.parametrize("content", [b"", b"null", b"[]", b"1", b'"text"'])
async def test_json_that_is_no_object(somebody: Person, service: str, content: bytes) -> None:
    assert_problem(await send(somebody, service, content), 422)


@every_service
async def test_an_array_ten_thousand_deep(somebody: Person, service: str) -> None:
    assert_problem(await send(somebody, service, b"[" * 10_000 + b"]" * 10_000), 400, 422)
    member = TEXT_MEMBER[service].encode()
    deep = b'{"%s": %s}' % (member, b'{"a":' * 10_000 + b"1" + b"}" * 10_000)
    assert_problem(await send(somebody, service, deep), 400, 422)


@every_service
@pytest.mark.parametrize("media_type", ["text/plain", "application/xml", "text/json", "nonsense"])
async def test_a_wrong_media_type(somebody: Person, service: str, media_type: str) -> None:
    answer = await send(somebody, service, b'{"name": "a"}', content_type=media_type)
    assert_problem(answer, 415)


@every_service
async def test_a_body_too_large(somebody: Person, service: str) -> None:
    assert_problem(await send(somebody, service, b'{"name": "' + b"x" * 2_000_000 + b'"}'), 413)


@every_service
async def test_a_body_too_large_that_does_not_tell_its_length(
    somebody: Person, system: System, service: str
) -> None:
    method, path = BODIES[service]
    chunk = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
    answer = await sent_as_bytes(
        system,
        service,
        b"%s %s HTTP/1.1" % (method.encode(), path.encode()),
        b"Authorization: Bearer " + somebody.tokens["access_token"].encode(),
        b"Content-Type: application/json",
        b"Transfer-Encoding: chunked",
        content=chunk * 40 + b"0\r\n\r\n",
    )
    assert_problem(answer, 413)


@every_service
async def test_nul_bytes_in_text_for_the_database(somebody: Person, service: str) -> None:
    content = json.dumps(
        {
            TEXT_MEMBER[service]: "a\0b",
            **(
                {"email": f"{uuid.uuid4().hex}@example.com", "password": "long enough phrase"}
                if service == "auth"
                else {}
            ),
        }
    )
    answer = await send(somebody, service, content.encode())
    assert_problem(answer, 422)
    assert answer.json()["details"][0]["field"] == f"body.{TEXT_MEMBER[service]}"


@pytest.mark.parametrize("query", ["q=%00", "tag=%00", "owner_id=%00"])
async def test_nul_bytes_in_a_query(somebody: Person, query: str) -> None:
    assert_problem(await somebody.send("items", "GET", f"/items?{query}"), 422)


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


@pytest.mark.parametrize("cursor", ["x", "AAAA", "%00", "é", "x" * 2_000, "../..", "e30="])
async def test_an_invalid_cursor(somebody: Person, cursor: str) -> None:
    assert_problem(await somebody.send("items", "GET", f"/items?cursor={cursor}"), 400)


@every_service
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
    [b"a\nb: c", b"a\rb: c", b"a\x00b", b"a\r\n folded"],
    ids=["line-feed", "carriage-return", "nul", "folded"],
)
async def test_a_request_id_with_a_line_break_is_refused(
    system: System, service: str, request_id: bytes
) -> None:
    """No HTTP client would send it. Folding is obsolete and refused (RFC 9112, section 5.2)."""
    line = b"GET /api/v1/nothing HTTP/1.1"
    answer = await sent_as_bytes(system, service, line, b"X-Request-ID: " + request_id)
    assert_problem(answer, 400)
    UUID(answer.headers["x-request-id"])


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
    if service in system.processes:
        await asyncio.sleep(0.2)  # lines are written in batches
        told = system.processes[service].output()
        assert "\x1b" not in told
        for line_of_log in told.splitlines():
            if marker in line_of_log:
                assert json.loads(line_of_log)["request_id"] == answer.headers["x-request-id"]


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
    status, *fields = top.decode("latin-1").split("\r\n")
    headers = [(name, value) for name, _, value in (field.partition(": ") for field in fields)]
    return Response(int(status.split()[1]), headers=headers, content=body)


@every_service
async def test_an_unknown_path_and_a_wrong_method(
    http: AsyncClient, system: System, service: str
) -> None:
    assert_problem(await http.get(f"{system.urls[service]}/api/v1/{service}/no/such/path"), 404)
    wrong = await http.request("DELETE", system.urls[service] + BODIES["auth"][1].replace(
        "/auth/register", {"auth": "/auth/register", "users": "/users", "items": "/items"}[service]
    ))  # fmt: skip
    assert_problem(wrong, 405)
    assert wrong.headers["allow"]


@every_service
@pytest.mark.parametrize(
    "authorization",
    ["Bearer", "Bearer x", "Bearer a.b.c", "Basic eDp5", "Bearer " + "x" * 5_000],
)
async def test_a_token_that_is_none(
    http: AsyncClient, system: System, service: str, authorization: str
) -> None:
    path = {"auth": "/auth/me", "users": "/users/me", "items": "/items"}[service]
    answer = await http.get(
        f"{system.urls[service]}/api/v1{path}", headers={"authorization": authorization}
    )
    assert_problem(answer, 401)
    assert answer.headers["www-authenticate"].startswith("Bearer")
