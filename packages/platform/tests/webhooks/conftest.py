"""The shop with webhooks, whose jobs run in its own process, and a subscriber on a real socket.

Each test has an account of its own, so the tests of a file share one application.
"""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient, Response
from shop import webhooks as shop
from shop.watching import until
from sqlalchemy import text

from service_platform.database import Database
from service_platform.ids import new_id
from service_platform.webhooks import schedule
from service_testing.once_a_file import database_url, redis_url, service_environment
from service_testing.services import client_of, started
from service_testing.tokens import TestTokens
from service_testing.webhook_receiver import WebhookReceiver, receiving

__all__ = ["database_url", "redis_url", "service_environment"]

WEBHOOKS = "/api/v1/shop/webhooks"


@pytest.fixture(scope="session")
def service_settings() -> dict[str, str]:
    return {
        "RATE_LIMIT_ENABLED": "false",
        "JWT_AUDIENCE": "users",
        "JOBS_IN_SERVICE": "true",
        "JOBS_POLL_SECONDS": "0.1",
        "WEBHOOKS_ALLOW_PRIVATE": "true",
        "WEBHOOKS_TIMEOUT_SECONDS": "5",
    }


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten attempts as always, but in a second."""
    monkeypatch.setattr(schedule, "PAUSES", (timedelta(milliseconds=20),) * 9)


@pytest.fixture
async def receiver() -> AsyncIterator[WebhookReceiver]:
    async with receiving() as opened:
        yield opened


@pytest.fixture(scope="module")
async def app(service_environment: dict[str, str]) -> AsyncIterator[FastAPI]:
    """The shop's application, which runs its jobs itself."""
    made = shop.create_app()
    async with made.state.database.engine.begin() as connection:
        await connection.run_sync(shop.metadata.create_all)
    async with started(made) as running:
        yield running


@pytest.fixture(scope="module")
async def client(app: FastAPI) -> AsyncIterator[AsyncClient]:
    async with client_of(app) as opened:
        yield opened


class Subscriber:
    """An account with subscriptions.

    Args:
        client: of the shop.
        account: its id.
        headers: of the account.
        database: of the shop.
    """

    def __init__(
        self, client: AsyncClient, account: UUID, headers: dict[str, str], database: Database
    ) -> None:
        self.client = client
        self.account = str(account)
        self.headers = headers
        self.database = database

    async def subscribe(self, url: str, *types: str) -> Any:
        """Subscribe; returns the subscription with its secret."""
        body = {"url": url, "types": types or ["note.created"]}
        answer = await self.client.post(WEBHOOKS, json=body, headers=self.headers)
        assert answer.status_code == 201, answer.text
        return answer.json()

    async def write(self, words: str = "Hello", *, fails: bool = False) -> Response:
        """Write a note, of which subscribers are told."""
        return await self.client.post(
            f"/api/v1/shop/notes?fails={fails}", json={"text": words}, headers=self.headers
        )

    async def ask(self, method: str, path: str, **options: Any) -> Any:
        """Call a route of webhooks; returns the body of its answer."""
        answer = await self.client.request(
            method, f"{WEBHOOKS}/{path}".rstrip("/"), headers=self.headers, **options
        )
        assert answer.is_success, answer.text
        return answer.json()

    async def deliveries(self, webhook: Any) -> list[Any]:
        """Return the deliveries of a subscription, the newest first."""
        answer = await self.ask("GET", f"{webhook['id']}/deliveries?limit=100")
        found: list[Any] = answer["items"]
        return found

    async def until_status(self, webhook: Any, status: str, number: int = 1) -> list[Any]:
        """Wait until so many deliveries have a status; returns all deliveries."""

        async def so() -> bool:
            found = await self.deliveries(webhook)
            return len([each for each in found if each["status"] == status]) >= number

        await until(so)
        return await self.deliveries(webhook)

    async def execute(self, statement: str, **parameters: Any) -> None:
        """Change rows of the account, which the statement names `:account`."""
        async with self.database.engine.begin() as connection:
            await connection.execute(text(statement), {"account": self.account, **parameters})

    async def has_failed_for(self, hours: int) -> None:
        """Make it look as if the account's subscriptions had failed for so long."""
        await self.execute(
            "UPDATE webhook_subscriptions "
            "SET failing_since = now() - make_interval(hours => :hours) WHERE account = :account",
            hours=hours,
        )


@pytest.fixture
def subscriber(client: AsyncClient, tokens: TestTokens, database: Database) -> Subscriber:
    account = new_id()
    return Subscriber(client, account, tokens.headers(account, audience="users"), database)
