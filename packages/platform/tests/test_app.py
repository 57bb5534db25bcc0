"""The application factory: what a service gets by handing over its routers and resources."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

import httpx2
import pytest
from fastapi import APIRouter, Depends, Form, HTTPException
from pydantic import BaseModel, ConfigDict, EmailStr, Field
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service_platform.app import ServiceApp, create_app
from service_platform.errors import NotFound, responses
from service_platform.settings import PlatformSettings

DEEP = b"[" * 10_000 + b"]" * 10_000


class Order(BaseModel):
    model_config = ConfigDict(extra="forbid")

    email: EmailStr
    password: str = Field(min_length=12)
    tags: list[str] = []


class OddError(Exception):
    pass


def who() -> str:
    return "real"


def orders_router() -> APIRouter:
    router = APIRouter(prefix="/orders", tags=["orders"])

    @router.post("", status_code=201, responses=responses(NotFound))
    async def place(order: Order) -> dict[str, int]:
        return {"tags": len(order.tags)}

    @router.get("")
    async def find(name: Annotated[str, Depends(who)], limit: int = 20) -> dict[str, Any]:
        return {"limit": limit, "name": name}

    @router.get("/{number}")
    async def read(number: int) -> dict[str, int]:
        if number == 0:
            raise HTTPException(404, "No order zero.")
        if number == 418:
            raise HTTPException(418, "I am a teapot.")
        if number == 13:
            raise OddError
        return {"number": number}

    @router.delete("/{number}", status_code=204)
    async def drop(number: int) -> None:
        return None

    @router.post("/form")
    async def form(name: Annotated[str, Form()]) -> str:
        return name

    return router


@pytest.fixture
def app() -> ServiceApp:
    settings = PlatformSettings(
        project_name="orders",
        environment="test",
        rate_limit_backend="memory",
        rate_limit_requests=1_000,
        problem_type_base_url="https://p.example/problems",
    )
    return create_app(settings, routers=[orders_router()], resources=[])


@pytest.fixture
async def client(app: ServiceApp) -> AsyncIterator[httpx2.AsyncClient]:
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app, raise_app_exceptions=False), base_url="http://test"
        ) as client,
    ):
        yield client


ORDERS = "/api/v1/orders"
JSON = {"content-type": "application/json"}


async def test_routes_are_served_below_the_prefix(client: httpx2.AsyncClient) -> None:
    assert (await client.get(f"{ORDERS}/7")).json() == {"number": 7}
    assert (await client.get("/orders/7")).status_code == 404


async def test_wrong_fields_are_named_without_their_values(client: httpx2.AsyncClient) -> None:
    response = await client.post(
        ORDERS,
        json={"email": "hunter2@@x", "password": "hunter2", "tags": ["a", 5], "more": "hunter2"},
    )
    problem = response.json()
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    assert problem["type"] == "https://p.example/problems/validation-error"
    assert problem["error"] == "validation_error"
    assert problem["detail"] == problem["message"] == "Request validation failed"
    fields = {detail["field"]: detail for detail in problem["details"]}
    assert set(fields) == {"body.email", "body.password", "body.tags.1", "body.more"}
    assert fields["body.tags.1"]["pointer"] == "#/tags/1"
    assert fields["body.password"]["type"] == "string_too_short"
    assert "hunter2" not in response.text


async def test_a_wrong_query_parameter_has_no_pointer(client: httpx2.AsyncClient) -> None:
    (detail,) = (await client.get(ORDERS, params={"limit": "many"})).json()["details"]
    assert (detail["field"], detail["pointer"]) == ("query.limit", None)


@pytest.mark.parametrize(
    "body", [b"{", b'{"email": }', DEEP, b'{"email": "\xff\xfe"}', b"\x00", b"[1,2"]
)
async def test_a_body_that_cannot_be_read_is_400(client: httpx2.AsyncClient, body: bytes) -> None:
    response = await client.post(ORDERS, content=body, headers=JSON)
    assert response.status_code == 400
    assert response.json()["error"] == "malformed_body"


@pytest.mark.parametrize("media_type", ["text/plain", "application/xml", "", "application/jsonx"])
async def test_a_wrong_media_type_is_415(client: httpx2.AsyncClient, media_type: str) -> None:
    response = await client.post(ORDERS, content=b"{}", headers={"content-type": media_type})
    assert response.status_code == 415
    assert response.json()["error"] == "unsupported_media_type"


async def test_json_with_parameters_and_suffixes_is_read(client: httpx2.AsyncClient) -> None:
    body = b'{"email": "a@example.com", "password": "correct horse"}'
    for media_type in ("application/json; charset=utf-8", "application/merge-patch+json"):
        response = await client.post(ORDERS, content=body, headers={"content-type": media_type})
        assert response.status_code == 201


async def test_a_form_route_wants_a_form(client: httpx2.AsyncClient) -> None:
    assert (await client.post(f"{ORDERS}/form", data={"name": "a"})).json() == "a"
    assert (await client.post(f"{ORDERS}/form", json={"name": "a"})).status_code == 415


async def test_a_missing_body_is_a_missing_field(client: httpx2.AsyncClient) -> None:
    problem = (await client.post(ORDERS)).json()
    assert (problem["status"], problem["details"][0]["type"]) == (422, "missing")


async def test_a_path_that_does_not_exist(client: httpx2.AsyncClient) -> None:
    problem = (await client.get("/nowhere")).json()
    assert (problem["status"], problem["error"]) == (404, "not_found")


async def test_405_lists_every_method_of_the_path(client: httpx2.AsyncClient) -> None:
    response = await client.put(f"{ORDERS}/7")
    assert response.status_code == 405
    assert response.json()["error"] == "method_not_allowed"
    assert response.headers["allow"] == "GET, HEAD, DELETE"


async def test_head_answers_where_get_does(client: httpx2.AsyncClient) -> None:
    response = await client.head(f"{ORDERS}/7")
    assert (response.status_code, response.content) == (200, b"")


async def test_http_exceptions_become_problems(client: httpx2.AsyncClient) -> None:
    problem = (await client.get(f"{ORDERS}/0")).json()
    assert (problem["error"], problem["detail"]) == ("not_found", "No order zero.")
    odd = (await client.get(f"{ORDERS}/418")).json()
    assert odd["detail"] == "I am a teapot."


async def test_a_service_may_handle_its_own_exceptions(
    app: ServiceApp, client: httpx2.AsyncClient
) -> None:
    @app.exception_handler(OddError)
    def handle(*_: object) -> PlainTextResponse:
        return PlainTextResponse("odd", status_code=409)

    response = await client.get(f"{ORDERS}/13")
    assert (response.status_code, response.text) == (409, "odd")


async def test_dependencies_can_be_overridden(app: ServiceApp, client: httpx2.AsyncClient) -> None:
    assert (await client.get(ORDERS)).json()["name"] == "real"
    app.dependency_overrides[who] = lambda: "other"
    assert (await client.get(ORDERS)).json()["name"] == "other"


async def test_a_service_may_add_middleware_of_its_own(
    app: ServiceApp, client: httpx2.AsyncClient
) -> None:
    seen: list[int] = []

    class Watcher:
        def __init__(self, app: ASGIApp) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            async def watch(message: Message) -> None:
                if message["type"] == "http.response.start":
                    seen.append(message["status"])
                await send(message)

            await self.app(scope, receive, watch)

    app.add_middleware(Watcher)
    assert (await client.get(f"{ORDERS}/7")).status_code == 200
    missing = await client.get("/nowhere")
    assert seen == [200, 404]
    assert missing.headers["x-request-id"]


async def test_requests_are_counted_by_route_template(client: httpx2.AsyncClient) -> None:
    await client.get(f"{ORDERS}/7")
    await client.get("/nowhere/at/all")
    await client.request("BREW", f"{ORDERS}/7")
    metrics = (await client.get("/metrics")).text
    name = "http_server_request_duration_seconds_count"
    assert f'{name}{{method="GET",route="/api/v1/orders/{{number}}",status="200"}}' in metrics
    assert f'{name}{{method="GET",route="unmatched",status="404"}}' in metrics
    assert 'method="_OTHER"' in metrics
    assert "nowhere" not in metrics


async def test_limits_tell_what_is_left_and_refuse_at_the_end() -> None:
    settings = PlatformSettings(
        environment="test", rate_limit_backend="memory", rate_limit_requests=2
    )
    app = create_app(settings, routers=[orders_router()], resources=[])
    transport = httpx2.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, base_url="http://test") as client,
    ):
        first = await client.get(f"{ORDERS}/7")
        await client.get("/nowhere")
        refused = await client.get(f"{ORDERS}/7")
        probe = await client.get("/health/live")
    assert first.headers["x-ratelimit-limit"] == "2"
    assert first.headers["x-ratelimit-remaining"] == "1"
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) > 0
    assert refused.json()["type"].endswith("#quota-exceeded")
    assert refused.headers["x-request-id"]
    assert probe.status_code == 200


def test_any_number_of_applications_can_be_made(app: ServiceApp) -> None:
    other = create_app(app.settings, routers=[orders_router()], resources=[])
    assert other is not app
