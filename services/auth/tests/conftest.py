"""What auth's tests share: people with accounts, clients, and the log of audit events.

The tests of a file share one application, which meets nobody from the tests before. Tests that
need one for themselves have the fixtures of `own_application`.
"""

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import orjson
import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient, Response
from sqlalchemy import update

from auth.clients import new_secret, secret_hash
from auth.models import Account, Client
from service_platform import logging
from service_platform.database import Database
from service_platform.ids import new_id
from service_testing.once_a_file import app, database_url, redis_url, service_environment
from service_testing.postgres import LocalPostgres
from service_testing.services import CHEAP_HASHES, client_of

__all__ = ["app", "database_url", "redis_url", "service_environment"]

PASSWORD = "a long phrase only we know"
AUTH = "/api/v1/auth"
TOKEN = f"{AUTH}/token"
ME = f"{AUTH}/me"


@pytest.fixture(scope="session")
def service() -> str:
    return "auth"


@pytest.fixture(scope="session")
def service_settings() -> dict[str, str]:
    """Hashes cost next to nothing here; settings refuse that where auth is deployed."""
    return CHEAP_HASHES


EMPTY = """
DO $$
DECLARE
    name text;
BEGIN
    SET LOCAL session_replication_role = replica;  -- neither foreign keys nor triggers
    FOR name IN SELECT format('%I', tablename) FROM pg_tables
        WHERE schemaname = 'public' AND tablename NOT IN ('alembic_version', 'signing_keys')
    LOOP
        EXECUTE format('DELETE FROM %s', name);
    END LOOP;
END $$
"""


@pytest.fixture
async def client(
    app: FastAPI, database_url: str, postgres_server: LocalPostgres, _redis_connection: Any
) -> AsyncIterator[AsyncClient]:
    """A client of the application, which has its keys and nobody of the tests before."""
    url = postgres_server.url_for(database_url.rpartition("/")[2])
    # The application goes on meanwhile, and lets go of rows that it has locked.
    await asyncio.to_thread(postgres_server.execute, EMPTY, url=url)
    _redis_connection[0].flushdb()
    async with client_of(app) as opened:
        yield opened


class Person:
    """An account, and what its owner does over HTTP."""

    def __init__(self, client: AsyncClient, account: dict[str, Any]) -> None:
        self.client = client
        self.account = account
        self.email: str = account["email"]
        self.tokens: dict[str, Any] = {}

    @property
    def id(self) -> str:
        return str(self.account["id"])

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.tokens['access_token']}"}

    @property
    def refresh_token(self) -> str:
        return str(self.tokens["refresh_token"])

    async def log_in(self, password: str = PASSWORD, **form: str) -> dict[str, Any]:
        answer = await log_in(self.client, self.email, password, **form)
        assert answer.status_code == 200, answer.text
        self.tokens = answer.json()
        return self.tokens

    async def refresh(self, token: str | None = None, **form: str) -> Response:
        content = {"grant_type": "refresh_token", "refresh_token": token or self.refresh_token}
        return await self.client.post(TOKEN, data=content | form)

    async def me(self) -> Response:
        return await self.client.get(ME, headers=self.headers)


async def log_in(client: AsyncClient, email: str, password: str, **form: str) -> Response:
    content = {"grant_type": "password", "username": email, "password": password, **form}
    return await client.post(TOKEN, data=content)


async def register(
    client: AsyncClient, email: str, password: str = PASSWORD, **members: Any
) -> Response:
    return await client.post(
        f"{AUTH}/register", json={"email": email, "password": password, **members}
    )


async def new_person(client: AsyncClient, email: str) -> Person:
    answer = await register(client, email, full_name="Ada Lovelace")
    assert answer.status_code == 201, answer.text
    made = Person(client, answer.json())
    await made.log_in()
    return made


@pytest.fixture
async def person(client: AsyncClient) -> Person:
    """Somebody who is logged in."""
    return await new_person(client, "ada@example.com")


@pytest.fixture
async def admin(client: AsyncClient, database: Database) -> Person:
    """Somebody with the role admin."""
    made = await new_person(client, "root@example.com")
    async with database.session() as session:
        await session.execute(update(Account).where(Account.id == made.id).values(roles=["admin"]))
        await session.commit()
    await made.log_in()
    return made


NewClient = Callable[..., Awaitable[tuple[str, str]]]


@pytest.fixture
def new_client(database: Database) -> NewClient:
    """Registers OAuth clients: `client_id, secret = await new_client("reports")`."""

    async def make(
        client_id: str,
        *,
        grant_types: tuple[str, ...] = ("client_credentials",),
        scopes: tuple[str, ...] = ("users:read",),
        public: bool = False,
    ) -> tuple[str, str]:
        secret = new_secret()
        async with database.session() as session:
            session.add(
                Client(
                    id=new_id(),
                    client_id=client_id,
                    secret_hash=None if public else secret_hash(secret),
                    grant_types=list(grant_types),
                    scopes=list(scopes),
                )
            )
            await session.commit()
        return client_id, secret

    return make


class AuditLog:
    """What the service has written since the test asked for this."""

    def __init__(self) -> None:
        self.stream = io.StringIO()

    def text(self) -> str:
        """All of it."""
        logging.writer.close()
        return self.stream.getvalue()

    def events(self, name: str) -> list[dict[str, Any]]:
        """The events of the logger `audit` with this name."""
        lines = [orjson.loads(line) for line in self.text().splitlines()]
        return [line for line in lines if (line["logger"], line["event"]) == ("audit", name)]


@pytest.fixture
def audit_log(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> AuditLog:
    logging.writer.close()  # what earlier tests have queued is not of this one
    made = AuditLog()
    monkeypatch.setattr(logging.writer, "_stream", made.stream)
    return made


async def eventually(condition: Callable[[], Awaitable[bool]], seconds: float = 5.0) -> None:
    """Return when the condition holds; fail when it takes too long."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - it is about other programs
            await asyncio.sleep(0.01)
