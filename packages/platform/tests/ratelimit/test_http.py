"""Limits as callers of a service meet them."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, cast

import http_sf
import httpx2
import pytest
from fastapi import APIRouter
from pydantic import SecretStr
from redis import Redis

from service_platform.app import create_app
from service_platform.ratelimit import limit
from service_platform.redis_client import RedisClient
from service_platform.settings import PlatformSettings

Serve = Callable[..., AbstractAsyncContextManager[httpx2.AsyncClient]]


def routes() -> APIRouter:
    router = APIRouter()

    @router.post("/logins")
    @limit("2/minute", by="address", name="logins", fallback="1/minute")
    async def log_in(body: dict[str, str]) -> dict[str, str]:
        return body

    @router.get("/things")
    async def things() -> list[str]:
        return []

    return router


@pytest.fixture
def serve(redis_url: str) -> Serve:
    @asynccontextmanager
    async def serving(**options: Any) -> AsyncIterator[httpx2.AsyncClient]:
        settings = PlatformSettings(
            environment="test", redis_url=SecretStr(redis_url), project_name="shop", **options
        )
        app = create_app(settings, routers=[routes()], resources=[RedisClient(settings)])
        transport = httpx2.ASGITransport(app, client=("192.0.2.7", 1))
        async with (
            app.router.lifespan_context(app),
            httpx2.AsyncClient(transport=transport, base_url="http://test") as client,
        ):
            yield client

    return serving


def field(response: httpx2.Response, name: str) -> dict[str, dict[str, Any]]:
    parsed = http_sf.parse(response.headers[name].encode(), tltype="list")
    return dict(cast("list[tuple[str, dict[str, Any]]]", parsed))


async def test_the_service_s_and_the_route_s_limits_are_one_command(
    serve: Serve, redis: Redis
) -> None:
    async with serve(rate_limit_requests=50) as client:
        redis.config_resetstat()
        response = await client.post("/api/v1/logins", json={})
        commands = cast("dict[str, dict[str, int]]", redis.info("commandstats"))
        sent = {name: stats["calls"] for name, stats in commands.items()}
        assert sent["cmdstat_evalsha"] == 1
        assert field(response, "ratelimit-policy") == {
            "default": {"q": 50, "w": 60},
            "logins": {"q": 2, "w": 60},
        }
        assert field(response, "ratelimit")["default"]["r"] == 49
        assert field(response, "ratelimit")["logins"]["r"] == 1
        assert response.headers["x-ratelimit-remaining"] == "1"


async def test_a_refusal_is_the_problem_of_the_draft_and_comes_before_the_body_is_read(
    serve: Serve,
) -> None:
    async with serve() as client:
        for _ in range(2):
            assert (await client.post("/api/v1/logins", json={})).status_code == 200
        refused = await client.post("/api/v1/logins", content=b"{broken")
        elsewhere = await client.get("/api/v1/things")
    assert refused.status_code == 429
    body = refused.json()
    assert body["type"] == "https://iana.org/assignments/http-problem-types#quota-exceeded"
    assert body["violated-policies"] == ["logins"]
    assert refused.headers["content-type"] == "application/problem+json"
    assert field(refused, "ratelimit") == {
        "logins": {"r": 0, "t": int(refused.headers["retry-after"])}
    }
    assert elsewhere.status_code == 200
    assert field(elsewhere, "ratelimit")["default"]["r"] == 600 - 3  # the refused one took nothing


async def test_forwarded_addresses_count_only_from_a_trusted_proxy(serve: Serve) -> None:
    async def left(client: httpx2.AsyncClient, forwarded: str) -> int:
        response = await client.get("/api/v1/things", headers={"x-forwarded-for": forwarded})
        return int(response.headers["x-ratelimit-remaining"])

    async with serve(rate_limit_requests=9) as client:
        assert [await left(client, f"198.51.100.{n}") for n in range(3)] == [8, 7, 6]
    async with serve(rate_limit_requests=9, trusted_proxies=["192.0.2.0/24"]) as client:
        assert [await left(client, f"198.51.100.{n}") for n in range(3)] == [8, 8, 8]
        assert await left(client, "2001:db8::1") == 8
        assert await left(client, "2001:db8::ffff:1") == 7  # the same /64


async def test_in_shadow_mode_nobody_is_refused(serve: Serve) -> None:
    async with serve(rate_limit_requests=1, rate_limit_shadow=True) as client:
        responses = [await client.get("/api/v1/things") for _ in range(4)]
    assert {response.status_code for response in responses} == {200}
    assert "ratelimit" not in responses[-1].headers
