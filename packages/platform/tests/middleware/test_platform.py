"""What holds for every response, whatever the application inside does."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Message

from service_platform.app import ServiceApp
from service_platform.errors import NotFound
from service_platform.settings import PlatformSettings

LIMIT = 2_000


async def hello(_: Request) -> Response:
    return PlainTextResponse("hello" * 400, headers={"etag": '"1"'})


async def fail(_: Request) -> Response:
    raise RuntimeError("postgresql://root:hunter2@db")


async def missing(_: Request) -> Response:
    raise NotFound("No such thing.")


async def hang(_: Request) -> Response:
    await asyncio.Event().wait()
    raise AssertionError


async def count(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


async def page(_: Request) -> Response:
    headers = {
        "Content-Security-Policy": "default-src 'self'",
        "X-Frame-Options": "SAMEORIGIN",
        "X-Request-ID": "of-the-route",
        "Vary": "Cookie",
    }
    return Response("<p>" * 1000, headers=headers)


async def tagged(request: Request) -> Response:
    etag = 'W/"3"' if "weak" in request.query_params else '"3"'
    content = "x" * (10 if "small" in request.query_params else 2000)
    return PlainTextResponse(content, headers={"etag": etag})


async def packed(_: Request) -> Response:
    return Response(b"x" * 2000, headers={"content-encoding": "gzip", "etag": '"own"'})


async def unchanged(_: Request) -> Response:
    return Response(status_code=304)


ROUTES = [
    Route("/hello", hello),
    Route("/tagged", tagged),
    Route("/packed", packed),
    Route("/unchanged", unchanged),
    Route("/fail", fail),
    Route("/missing", missing),
    Route("/hang", hang),
    Route("/count", count, methods=["POST"]),
    Route("/page", page),
    Route("/page/of/it", hello),
    Route("/pages", hello),
]


def application(policies: dict[str, str] | None = None, **settings: Any) -> ServiceApp:
    chosen = PlatformSettings(
        _env_file=None,
        **{
            "environment": "production",
            "secret_key": "s" * 48,
            "database_url": "postgresql://user@host/db?sslmode=verify-full",
            "rate_limit_enabled": False,
            "max_body_bytes": LIMIT,
            "request_timeout_seconds": 0.2,
            "problem_type_base_url": "https://p.example/problems",
            **settings,
        },
    )
    return ServiceApp(settings=chosen, routes=ROUTES, content_security_policies=policies)


def client_of(app: ServiceApp, base_url: str = "http://test") -> httpx2.AsyncClient:
    return httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app, raise_app_exceptions=False), base_url=base_url
    )


@pytest.fixture
async def client() -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(application()) as client:
        yield client


@pytest.mark.parametrize(
    ("path", "status"), [("/hello", 200), ("/fail", 500), ("/missing", 404), ("/hang", 504)]
)
async def test_every_response_tells_request_id_and_time(
    client: httpx2.AsyncClient, path: str, status: int
) -> None:
    response = await client.get(path, headers={"x-request-id": "mine-1"})
    assert response.status_code == status
    assert response.headers["x-request-id"] == "mine-1"
    assert re.fullmatch(r"\d+\.\d\dms", response.headers["x-response-time"])
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["x-frame-options"] == "DENY"
    assert "default-src 'none'" in response.headers["content-security-policy"]
    assert "strict-transport-security" not in response.headers


async def test_an_unhandled_error_hides_its_text(client: httpx2.AsyncClient) -> None:
    response = await client.get("/fail")
    problem = response.json()
    assert response.headers["content-type"] == "application/problem+json"
    assert problem["error"] == "internal_error"
    assert problem["request_id"] == response.headers["x-request-id"]
    assert "hunter2" not in response.text


async def test_a_handler_past_its_time_is_cancelled(client: httpx2.AsyncClient) -> None:
    problem = (await client.get("/hang")).json()
    assert (problem["status"], problem["error"]) == (504, "timeout")


async def test_a_caller_in_a_hurry_shortens_its_own_time() -> None:
    app = application(request_timeout_seconds=60)
    async with client_of(app) as client:
        response = await client.get("/hang", headers={"x-request-timeout": "0.05"})
        assert response.status_code == 504
        for nonsense in ("-1", "soon", "nan", "1e9"):
            fine = await client.get("/hello", headers={"x-request-timeout": nonsense})
            assert fine.status_code == 200


async def test_a_problem_is_answered_by_its_handler(client: httpx2.AsyncClient) -> None:
    problem = (await client.get("/missing")).json()
    assert problem["type"] == "https://p.example/problems/not-found"
    assert problem["detail"] == problem["message"] == "No such thing."


async def test_head_has_the_headers_of_get_and_no_body(client: httpx2.AsyncClient) -> None:
    got = await client.get("/hello", headers={"accept-encoding": "identity"})
    head = await client.head("/hello", headers={"accept-encoding": "identity"})
    assert head.status_code == 200
    assert head.content == b""
    assert head.headers["content-length"] == got.headers["content-length"] == "2000"


async def test_behind_tls_browsers_are_told_to_stay_there() -> None:
    async with client_of(application(), "https://test") as client:
        response = await client.get("/hello")
    assert response.headers["strict-transport-security"].startswith("max-age=63072000")


async def test_what_a_route_sets_wins_and_is_sent_once(client: httpx2.AsyncClient) -> None:
    headers = (await client.get("/page")).headers
    assert headers.get_list("content-security-policy") == ["default-src 'self'"]
    assert headers.get_list("x-frame-options") == ["SAMEORIGIN"]
    assert headers.get_list("x-request-id") == ["of-the-route"]
    assert headers.get_list("vary") == ["Cookie, Accept-Encoding"]
    assert len(headers.keys()) == len(headers.multi_items())


async def test_a_policy_is_relaxed_for_a_path_and_what_is_below_it() -> None:
    policies = {"/pages": "default-src 'self'", "/hello": "default-src *"}
    async with client_of(application(policies)) as client:
        policy = {
            path: (await client.get(path)).headers["content-security-policy"]
            for path in ("/pages", "/pages/none", "/hello", "/hello-not", "/missing")
        }
    strict = policy["/missing"]
    assert strict.startswith("default-src 'none'")
    assert policy == {
        "/pages": "default-src 'self'",
        "/pages/none": "default-src 'self'",
        "/hello": "default-src *",
        "/hello-not": strict,
        "/missing": strict,
    }


@pytest.mark.parametrize("policies", [{"admin": "default-src 'self'"}, {"/admin": " "}])
def test_a_policy_needs_a_path_and_a_text(policies: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="content_security_policies"):
        application(policies)


@pytest.mark.parametrize(
    ("accepted", "compressed"),
    [
        ("gzip", True), ("GZIP", True), ("br, gzip;q=0.5", True), ("*", True), ("x-gzip", True),
        ("gzip;q=0", False), ("gzip;q=0.0", False), ("gzip ; q=0", False), ("*;q=0", False),
        ("gzip;q=0, *", False), ("br", False), ("gzipped", False), ("", False), ("gzip;q=x", False),
        ("identity;q=0.5, gzip;q=1.0", True),
    ],
)  # fmt: skip
async def test_qualities_of_codings_are_kept(
    client: httpx2.AsyncClient, accepted: str, compressed: bool
) -> None:
    response = await client.get("/hello", headers={"accept-encoding": accepted})
    assert ("content-encoding" in response.headers) is compressed
    assert response.headers["vary"] == "Accept-Encoding"


async def test_vary_names_what_a_response_depends_on() -> None:
    async with client_of(application(cors_origins=["https://app.example"])) as client:
        assert (await client.get("/tagged?small=1")).headers["vary"] == "Origin"
        assert (await client.get("/hello")).headers["vary"] == "Accept-Encoding, Origin"
        assert (await client.get("/unchanged")).headers["vary"] == "Accept-Encoding, Origin"
        assert (await client.get("/page")).headers["vary"] == "Cookie, Accept-Encoding, Origin"
    async with client_of(application(cors_origins=["*"])) as client:
        assert "vary" not in (await client.get("/tagged?small=1")).headers


async def test_what_a_route_compressed_itself_is_left_alone(client: httpx2.AsyncClient) -> None:
    async with client.stream("GET", "/packed", headers={"accept-encoding": "gzip"}) as response:
        assert response.headers["etag"] == '"own"'
        assert response.headers.get_list("content-encoding") == ["gzip"]


async def test_large_answers_are_compressed_on_request(client: httpx2.AsyncClient) -> None:
    packed = await client.get("/hello", headers={"accept-encoding": "gzip"})
    plain = await client.get("/hello", headers={"accept-encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert packed.text == plain.text


async def test_compressed_content_has_an_entity_tag_of_its_own(client: httpx2.AsyncClient) -> None:
    packed = await client.get("/tagged", headers={"accept-encoding": "gzip"})
    plain = await client.get("/tagged", headers={"accept-encoding": "identity"})
    small = await client.get("/tagged?small=1", headers={"accept-encoding": "gzip"})
    weak = await client.get("/tagged?weak=1", headers={"accept-encoding": "gzip"})
    assert [each.headers["etag"] for each in (packed, plain, small, weak)] == [
        '"3-gzip"', '"3"', '"3"', 'W/"3"',
    ]  # fmt: skip


async def test_while_draining_connections_are_closed() -> None:
    app = application()
    async with client_of(app) as client:
        assert "connection" not in (await client.get("/hello")).headers
        app.lifecycle.draining = True
        assert (await client.get("/hello")).headers["connection"] == "close"


async def test_a_body_up_to_the_limit_is_read(client: httpx2.AsyncClient) -> None:
    assert (await client.post("/count", content=b"x" * LIMIT)).text == str(LIMIT)


@pytest.mark.parametrize("target", ["/hello?q=%ff", "/hello?%c3%28", "/hello/%80", "/%ff"])
async def test_an_address_that_is_not_utf8_is_refused(
    client: httpx2.AsyncClient, target: str
) -> None:
    answer = await client.get(target)
    assert (answer.status_code, answer.json()["error"]) == (400, "bad_request")
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize("query", ["q=%C3%A9", "q=%E2%98%83&r=%00", "q=100%", "q=%zz"])
async def test_any_other_address_passes(client: httpx2.AsyncClient, query: str) -> None:
    assert (await client.get(f"/hello?{query}")).status_code == 200


async def test_a_declared_body_over_the_limit_is_refused(client: httpx2.AsyncClient) -> None:
    response = await client.post("/count", content=b"x" * (LIMIT + 1))
    assert response.status_code == 413
    assert response.json()["error"] == "payload_too_large"


async def test_an_undeclared_body_over_the_limit_is_refused(client: httpx2.AsyncClient) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"x" * 1_000

    response = await client.post("/count", content=chunks())
    assert response.status_code == 413


async def test_a_client_that_leaves_while_sending_is_no_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope: dict[str, Any] = {
        "type": "http",
        "method": "POST",
        "path": "/count",
        "headers": [(b"content-length", b"5")],
        "query_string": b"",
        "scheme": "http",
        "client": ("192.0.2.1", 1),
    }
    await application()(scope, receive, send)
    assert scope["service_platform"].disconnected
    assert sent == []


async def preflight(app: ServiceApp, origin: str) -> httpx2.Response:
    headers = {"origin": origin, "access-control-request-method": "PATCH"}
    async with client_of(app) as client:
        return await client.options("/hello", headers=headers)


async def test_a_preflight_from_an_allowed_origin() -> None:
    app = application(environment="test", cors_origins=["https://app.example"])
    response = await preflight(app, "https://app.example")
    assert response.status_code == 204
    assert response.headers["access-control-allow-origin"] == "https://app.example"
    assert "PATCH" in response.headers["access-control-allow-methods"]
    assert "If-Match" in response.headers["access-control-allow-headers"]
    assert response.headers["x-request-id"]


async def test_a_preflight_from_any_other_origin_is_refused() -> None:
    response = await preflight(
        application(cors_origins=["https://app.example"]), "https://evil.example"
    )
    assert response.status_code == 403
    assert "access-control-allow-origin" not in response.headers


async def test_in_development_every_port_of_this_machine_may_call() -> None:
    response = await preflight(application(environment="development"), "http://localhost:5173")
    assert response.headers["access-control-allow-origin"] == "http://localhost:5173"
    refused = await preflight(
        application(environment="development"), "http://localhost.evil.example"
    )
    assert refused.status_code == 403


async def test_answers_expose_the_headers_a_browser_needs() -> None:
    async with client_of(application(cors_origins=["https://app.example"])) as client:
        response = await client.get("/fail", headers={"origin": "https://app.example"})
    assert response.headers["access-control-allow-origin"] == "https://app.example"
    assert "ETag" in response.headers["access-control-expose-headers"]
    assert "X-Request-ID" in response.headers["access-control-expose-headers"]
    assert response.headers["vary"] == "Origin"
