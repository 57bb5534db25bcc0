"""The API docs as a person meets them: in a browser, under the pages' own content policy."""

import json
import os
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from httpx2 import AsyncClient
from tests.e2e.browser import Browser, Page, Request, find_browser
from tests.e2e.operations import OWN_PATHS
from tests.e2e.people import PASSWORD, Person
from tests.e2e.system import SERVICES, System

from service_testing.plugin import servers_of

PROGRAM = find_browser()
OPERATIONS = {"/docs": ".opblock", "/redoc": '[id^="tag/"][id*="/operation/"]'}
"""What an operation is on each page."""

pytestmark = pytest.mark.skipif(
    PROGRAM is None, reason="needs Chromium (Debian: chromium-headless-shell)"
)


@pytest.fixture(scope="module")
def browser(pytestconfig: pytest.Config) -> Iterator[Browser]:
    # What is in the folder of the run is removed by the next one when this one is killed.
    folder = servers_of(pytestconfig).directory / f"browser-{os.getpid()}"
    with Browser(str(PROGRAM), folder) as started:
        yield started


@pytest.fixture(scope="module", params=SERVICES)
def documented(request: pytest.FixtureRequest, system: System) -> str:
    """A service whose pages are looked at."""
    if system.behind_gateway:
        pytest.skip("A gateway is between.")
    return str(request.param)


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    with browser.page() as opened:
        yield opened


@pytest.fixture(scope="module")
def docs(system: System, browser: Browser, documented: str) -> Iterator[Page]:
    """The page at /docs, on which each test goes on where the last one stopped."""
    size = {"width": 1200, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    with browser.page() as opened:
        opened.send("Emulation.setDeviceMetricsOverride", **size)
        opened.open(f"{system.urls[documented]}/docs")
        yield opened


@pytest.fixture(scope="module")
def authorizing(docs: Page) -> Page:
    """That page when somebody has chosen to authorize."""
    docs.click(".auth-wrapper .authorize")
    docs.wait_for("!!document.querySelector('#auth-bearer-value')")
    return docs


async def document_of(http: AsyncClient, url: str) -> dict[str, Any]:
    document: dict[str, Any] = (await http.get(f"{url}/api/v1/openapi.json")).json()
    return document


def token_url_of(document: dict[str, Any]) -> str:
    """Where the document says that people log in."""
    schemes = document["components"]["securitySchemes"].values()
    (scheme,) = (each for each in schemes if each["type"] == "oauth2")
    return str(scheme["flows"]["password"]["tokenUrl"])


def assert_no_complaint(page: Page) -> None:
    page.wait_until_quiet()
    assert page.complaints == []
    assert page.failures == []


async def assert_all_is_shown(http: AsyncClient, page: Page, url: str, path: str) -> None:
    """Every operation and message is on the page, which has asked nobody but the service."""
    document = await document_of(http, url)
    described = [*document["paths"].values(), *document.get("webhooks", {}).values()]
    expected = sum(len(methods) for methods in described)
    shown = f"document.querySelectorAll({json.dumps(OPERATIONS[path])}).length"
    assert page.wait_for(shown) == expected
    assert_no_complaint(page)
    assert page.hosts == {urlsplit(url).netloc}


async def test_docs_shows_every_operation_and_asks_nobody_else(
    http: AsyncClient, system: System, docs: Page, documented: str
) -> None:
    await assert_all_is_shown(http, docs, system.urls[documented], "/docs")


async def test_redoc_shows_every_operation_and_asks_nobody_else(
    http: AsyncClient, system: System, page: Page, documented: str
) -> None:
    page.open(f"{system.urls[documented]}/redoc")
    await assert_all_is_shown(http, page, system.urls[documented], "/redoc")


def test_authorize_opens_with_the_login_in_view(authorizing: Page) -> None:
    page = authorizing
    assert page.evaluate("document.activeElement.id") == "oauth_username"
    for field in ("oauth_username", "oauth_password"):
        # What is at its middle is itself: neither scrolled away nor under something else.
        assert (
            page.evaluate(
                f"""(() => {{
                const field = document.querySelector("#{field}").getBoundingClientRect();
                const [x, y] = [field.x + field.width / 2, field.y + field.height / 2];
                return document.elementFromPoint(x, y)?.id;
            }})()"""
            )
            == field
        )


async def test_authorize_logs_in_and_calls_are_made_with_the_token(
    http: AsyncClient, system: System, authorizing: Page, documented: str
) -> None:
    page = authorizing
    person = Person(http, system)
    assert (await person.register()).status_code == 201
    url = system.urls[documented]
    page.type_into("#oauth_username", person.email)
    page.type_into("#oauth_password", PASSWORD)
    page.click(".modal-ux .auth-btn-wrapper .authorize")
    assert page.text_of(".modal-ux .auth-container h6") == "Authorized"
    page.click(".modal-ux .close-modal")

    block = f".opblock-get:has([data-path='/api/v1{OWN_PATHS[documented]}'])"
    page.click(f"{block} .opblock-summary-control")
    page.click(f"{block} .try-out__btn")
    page.click(f"{block} .execute")
    answered = f"{block} .live-responses-table .response"
    assert page.text_of(f"{answered} .response-col_status").startswith("200")

    assert_no_complaint(page)
    token_url = token_url_of(await document_of(http, url))
    assert token_url == system.api("auth", "/auth/token")
    assert Request("POST", token_url) in page.requests
    abroad = {request.url for request in page.requests if request.host != urlsplit(url).netloc}
    assert abroad <= {token_url}
