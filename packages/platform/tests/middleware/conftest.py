"""Services in this process with the routes and settings that a test likes."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any

import httpx2
import pytest
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from service_platform.app import ServiceApp
from service_platform.settings import PlatformSettings

PRODUCTION = {
    "environment": "production",
    "secret_key": "s" * 48,
    "database_url": "postgresql://user@host/db?sslmode=verify-full",
    "rate_limit_enabled": False,
}


@pytest.fixture
def make_service() -> Callable[..., ServiceApp]:
    """Makes a service as it would be in production, without limits where a test does not ask."""

    def make(
        routes: Sequence[BaseRoute] = (), policies: dict[str, str] | None = None, **settings: Any
    ) -> ServiceApp:
        chosen = PlatformSettings(_env_file=None, **{**PRODUCTION, **settings})
        return ServiceApp(settings=chosen, routes=[*routes], content_security_policies=policies)

    return make


@pytest.fixture
async def calling() -> AsyncIterator[Callable[..., httpx2.AsyncClient]]:
    """Makes clients of applications; an unhandled exception is the response 500."""
    async with AsyncExitStack() as opened:

        def call(app: ASGIApp, base_url: str = "http://test") -> httpx2.AsyncClient:
            transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
            client = httpx2.AsyncClient(transport=transport, base_url=base_url)
            opened.push_async_callback(client.aclose)
            return client

        yield call
