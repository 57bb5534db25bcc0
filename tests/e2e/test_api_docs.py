"""The API docs as a person meets them: in a browser, under the pages' own content policy."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from httpx2 import AsyncClient
from tests.e2e.browser import Browser, find_browser
from tests.e2e.conftest import PASSWORD, SERVICES, Person, System

PROGRAM = find_browser()
ME = {"auth": "/api/v1/auth/me", "users": "/api/v1/users/me", "items": "/api/v1/items"}
"""A route of each service that wants a token."""

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="needs Chromium (Debian: chromium)")
every_service = pytest.mark.parametrize("service", SERVICES)


@pytest.fixture
def browser(system: System, tmp_path: Path) -> Iterator[Browser]:
    if system.behind_gateway:
        pytest.skip("A gateway passes the API on, not the pages.")
    opened = Browser(str(PROGRAM), tmp_path / "profile")
    try:
        yield opened
    finally:
        opened.close()


async def document_of(http: AsyncClient, url: str) -> dict[str, Any]:
    document: dict[str, Any] = (await http.get(f"{url}/api/v1/openapi.json")).json()
    return document


@every_service
async def test_swagger_ui_shows_every_operation_and_asks_nobody_else(
    http: AsyncClient, system: System, browser: Browser, service: str
) -> None:
    url = system.urls[service]
    document = await document_of(http, url)
    operations = sum(len(methods) for methods in document["paths"].values())
    browser.open(f"{url}/docs")
    assert browser.wait_for("document.querySelectorAll('.opblock').length") == operations
    assert browser.complaints == []
    assert browser.hosts == {urlsplit(url).netloc}


@every_service
async def test_redoc_shows_every_operation_and_asks_nobody_else(
    http: AsyncClient, system: System, browser: Browser, service: str
) -> None:
    url = system.urls[service]
    document = await document_of(http, url)
    operations = sum(len(methods) for methods in document["paths"].values())
    browser.open(f"{url}/redoc")
    shown = 'document.querySelectorAll(\'[id^="tag/"][id*="/operation/"]\').length'
    assert browser.wait_for(shown) == operations
    assert browser.complaints == []
    assert browser.hosts == {urlsplit(url).netloc}


@every_service
async def test_authorize_logs_in_and_calls_are_made_with_the_token(
    http: AsyncClient, system: System, browser: Browser, service: str
) -> None:
    person = Person(http, system)
    assert (await person.register()).status_code == 201
    url = system.urls[service]
    browser.open(f"{url}/docs")
    browser.click(".auth-wrapper .authorize")
    browser.type_into("#oauth_username", person.email)
    browser.type_into("#oauth_password", PASSWORD)
    browser.click(".modal-ux .auth-btn-wrapper .authorize")
    browser.wait_for(
        "[...document.querySelectorAll('.modal-ux button')].some(b => b.textContent === 'Logout')"
    )
    browser.click(".modal-ux .close-modal")
    block = f".opblock-get:has([data-path='{ME[service]}'])"
    browser.click(f"{block} .opblock-summary-control")
    browser.click(f"{block} .try-out__btn")
    browser.click(f"{block} .execute")
    answered = f"{block} .live-responses-table tbody td.response-col_status"
    status = browser.wait_for(f'document.querySelector("{answered}")?.textContent')
    assert status.strip().startswith("200")
    assert browser.complaints == []
    assert browser.hosts == {urlsplit(url).netloc, urlsplit(system.urls["auth"]).netloc}
