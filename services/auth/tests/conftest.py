"""What auth's tests share."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from httpx2 import AsyncClient

PASSWORD = "a long phrase only we know"
TOKEN = "/api/v1/auth/token"
ME = "/api/v1/auth/me"


@pytest.fixture(scope="session")
def service() -> str:
    return "auth"


@pytest.fixture
def service_environment(
    service_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """Hashes cost next to nothing here; settings refuse that where auth is deployed."""
    cheap = {"PASSWORD_HASH_MEMORY_KIB": "64", "PASSWORD_HASH_TIME_COST": "1"}
    for name, value in cheap.items():
        monkeypatch.setenv(name, value)
    return {**service_environment, **cheap}


class Person:
    """An account and what its owner does over HTTP."""

    def __init__(self, client: AsyncClient, email: str, account: dict[str, Any]) -> None:
        self.client = client
        self.email = email
        self.account = account
        self.tokens: dict[str, Any] = {}

    @property
    def id(self) -> str:
        return str(self.account["id"])

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.tokens['access_token']}"}

    async def log_in(self, password: str = PASSWORD, **form: str) -> dict[str, Any]:
        answer = await log_in(self.client, self.email, password, **form)
        assert answer.status_code == 200, answer.text
        self.tokens = answer.json()
        return self.tokens

    async def refresh(self, token: str | None = None) -> Any:
        form = {
            "grant_type": "refresh_token",
            "refresh_token": token or self.tokens["refresh_token"],
        }
        return await self.client.post(TOKEN, data=form)


async def log_in(client: AsyncClient, email: str, password: str, **form: str) -> Any:
    content = {"grant_type": "password", "username": email, "password": password, **form}
    return await client.post(TOKEN, data=content)


NewPerson = Callable[..., Awaitable[Person]]


async def register(client: AsyncClient, email: str, password: str = PASSWORD) -> Person:
    body = {"email": email, "password": password, "full_name": "Ada Lovelace"}
    answer = await client.post("/api/v1/auth/register", json=body)
    assert answer.status_code == 201, answer.text
    return Person(client, email, answer.json())


@pytest.fixture
async def person(client: AsyncClient) -> Person:
    """Somebody who is logged in."""
    made = await register(client, "ada@example.com")
    await made.log_in()
    return made
