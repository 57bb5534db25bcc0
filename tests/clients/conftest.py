"""What tests of generated clients share: the running system, and clients of all services."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from httpx2 import AsyncClient
from tests.e2e.conftest import directly, given, http, system
from tests.e2e.people import PASSWORD, new_person
from tests.e2e.system import System

from devtools.client import Language, client
from devtools.client_tools import NotHereError

__all__ = ["directly", "given", "http", "system"]


@pytest.fixture
def make_clients(tmp_path: Path) -> Callable[[Language], Awaitable[Path]]:
    """Makes the clients of all services as `./dev client` does; the folder they are in."""

    async def make(language: Language) -> Path:
        try:
            await asyncio.to_thread(client, language, output=tmp_path)
        except NotHereError as error:
            pytest.skip(str(error))
        return tmp_path

    return make


@pytest.fixture
async def given_to_journeys(http: AsyncClient, directly: System) -> str:
    """The argument of programs that use clients: where the services are, and an account."""
    person = await new_person(http, directly)
    return json.dumps(
        {
            "urls": directly.urls,
            "password": PASSWORD,
            "account_id": person.account["id"],
            "token": person.tokens["access_token"],
        }
    )
