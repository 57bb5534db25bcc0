"""What tests of generated clients share: the running system and its OpenAPI documents."""

import json
from pathlib import Path

import pytest
from httpx2 import AsyncClient
from tests.e2e.conftest import directly, given, http, system
from tests.e2e.system import SERVICES, System

__all__ = ["directly", "given", "http", "system"]


@pytest.fixture
async def documents(http: AsyncClient, directly: System, tmp_path: Path) -> dict[str, Path]:
    """The OpenAPI document of each service, as it serves it, in a file."""
    files = {}
    for service in SERVICES:
        answer = await http.get(directly.api(service, "/openapi.json"))
        assert answer.status_code == 200, answer.text
        files[service] = tmp_path / f"{service}.json"
        files[service].write_text(json.dumps(answer.json()))
    return files
