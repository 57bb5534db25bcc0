"""People who use the system."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from httpx2 import AsyncClient, Response
from tests.e2e.operations import OWN_PATHS
from tests.e2e.system import System

from service_platform.tls import default_ssl_context
from service_testing.services import RunningService

PASSWORD = "a long phrase only we know"


class Person:
    """An account and one session of its owner.

    Args:
        http: what requests are sent with.
        system: where they are sent to.
        email: of the account; a new one where none is given.
    """

    def __init__(self, http: AsyncClient, system: System, email: str | None = None) -> None:
        self.http = http
        self.system = system
        self.email = email or f"e2e-{uuid.uuid4().hex}@example.com"
        self.account: dict[str, Any] = {}
        self.tokens: dict[str, Any] = {}

    @property
    def headers(self) -> dict[str, str]:
        """What proves who it is."""
        return {"authorization": f"Bearer {self.tokens['access_token']}"}

    async def register(self) -> Response:
        """Make the account."""
        body = {"email": self.email, "password": PASSWORD, "full_name": "Ada Lovelace"}
        answer = await self.http.post(self.system.api("auth", "/auth/register"), json=body)
        self.account = answer.json()
        return answer

    async def log_in(self) -> Response:
        """Begin a session."""
        return await self._token(grant_type="password", username=self.email, password=PASSWORD)

    async def refresh(self, token: str | None = None, at: RunningService | None = None) -> Response:
        """Go on with the session, by an older refresh token or at a certain replica of auth."""
        token = token or self.tokens["refresh_token"]
        return await self._token(at, grant_type="refresh_token", refresh_token=token)

    async def another_session(self) -> "Person":
        """The same person on another device."""
        other = Person(self.http, self.system, self.email)
        other.account = self.account
        assert (await other.log_in()).status_code == 200
        return other

    async def send(
        self,
        service: str,
        method: str,
        path: str,
        headers: dict[str, str] | None = None,
        **body: Any,
    ) -> Response:
        """Send a request with the person's token."""
        return await self.http.request(
            method,
            self.system.api(service, path),
            headers={**self.headers, **(headers or {})},
            **body,
        )

    async def status_at(self, replica: RunningService) -> int:
        """What a certain process makes of the person's token."""
        path = OWN_PATHS[replica.service.partition(".")[0]]
        answer = await self.http.get(f"{replica.url}/api/v1{path}", headers=self.headers)
        return answer.status_code

    async def _token(self, at: RunningService | None = None, **form: str) -> Response:
        url = at.url if at else self.system.urls["auth"]
        answer = await self.http.post(f"{url}/api/v1/auth/token", data=form)
        if answer.is_success:
            self.tokens = answer.json()
        return answer


async def new_person(http: AsyncClient, system: System) -> Person:
    """Somebody registered and logged in."""
    person = Person(http, system)
    registered = await person.register()
    assert registered.status_code == 201, registered.text
    assert (await person.log_in()).status_code == 200
    return person


@asynccontextmanager
async def http_client() -> AsyncIterator[AsyncClient]:
    """A client that speaks to the services and to nothing between."""
    async with AsyncClient(timeout=30, trust_env=False, verify=default_ssl_context()) as client:
        yield client
