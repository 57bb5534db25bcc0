"""The services serve the documents of `docs/api`, from which clients are made."""

import json

from httpx2 import AsyncClient
from tests.e2e.system import SERVICES, System

from devtools.openapi import FOLDER, differences

OF_THE_MACHINE = ("info version ", "components securitySchemes OAuth2 flows password ")
"""What each system says of itself: its release, and where its authorization server is."""


async def test_services_serve_the_documents_that_are_kept(
    http: AsyncClient, directly: System
) -> None:
    for service in SERVICES:
        answer = await http.get(directly.api(service, "/openapi.json"))
        assert answer.status_code == 200, answer.text
        kept = json.loads((FOLDER / f"{service}.json").read_text(encoding="utf-8"))
        found = list(differences(kept, answer.json()))
        assert [each for each in found if not each.startswith(OF_THE_MACHINE)] == [], service
