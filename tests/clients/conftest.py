"""What tests of generated clients share: the running system, and clients of all services."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.e2e.conftest import directly, given, http, system

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
