"""A browser at the one address of `./dev up`: the front page, and a login behind it."""

import asyncio
import json
from contextlib import closing
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest
from httpx2 import AsyncClient
from tests.e2e.browser import Page, Request, find_browser
from tests.e2e.people import PASSWORD, Person
from tests.e2e.system import SERVICES, System

pytestmark = pytest.mark.skipif(
    find_browser() is None, reason="needs Chromium (Debian: chromium-headless-shell)"
)
MARKUP = "/api/v1/users/<img/src=x/onerror=document.title='run'>"


def rows_with(path: str) -> str:
    """JavaScript: the rows of the table of requests that show a path."""
    rows = "[...document.querySelectorAll('#requests tr')]"
    return f"{rows}.filter(row => row.querySelector('.path').textContent === {json.dumps(path)})"


def ask_as_written(url: str, path: str) -> None:
    """Send a path that no client sends without encoding it."""
    with closing(HTTPConnection(urlsplit(url).netloc, timeout=10)) as connection:
        connection.request("GET", path)
        assert connection.getresponse().read()


async def test_from_the_front_page_to_a_login(
    http: AsyncClient, gateway: System, page: Page
) -> None:
    url = gateway.urls["users"]
    person = Person(http, gateway)
    assert (await person.register()).status_code == 201

    page.open(url)
    summary = "document.querySelector('#summary')?.textContent"
    page.wait_for(f"{summary} === '{len(SERVICES)} services, all healthy'")
    names = "[...document.querySelectorAll('#services h3')].map(each => each.textContent)"
    assert sorted(page.evaluate(names)) == sorted(SERVICES)
    assert page.wait_for("!document.querySelector('#no-logins').hidden")
    page.wait_for(f"{rows_with('/api/v1/auth/register')}.length === 1")
    await asyncio.to_thread(ask_as_written, url, MARKUP)
    page.wait_for(f"{rows_with(MARKUP)}.length === 1")
    assert page.evaluate("document.querySelectorAll('img').length") == 0
    assert page.evaluate("document.title") == "Local system"

    page.click("#services a[href='/docs/users']")
    page.click(".auth-wrapper .authorize")
    page.type_into("#oauth_username", person.email)
    page.type_into("#oauth_password", PASSWORD)
    page.click(".modal-ux .auth-btn-wrapper .authorize")
    assert page.text_of(".modal-ux .auth-container h6") == "Authorized"
    page.click(".modal-ux .close-modal")
    block = ".opblock-get:has([data-path='/api/v1/users/me'])"
    page.click(f"{block} .opblock-summary-control")
    page.click(f"{block} .try-out__btn")
    page.click(f"{block} .execute")
    status = page.text_of(f"{block} .live-responses-table .response .response-col_status")
    assert status.startswith("200")

    page.wait_until_quiet()
    assert page.complaints == []
    # Whoever leaves the front page may do so while it asks.
    assert [each for each in page.failures if "overview.json" not in each] == []
    assert page.hosts == {urlsplit(url).netloc}
    assert Request("POST", gateway.api("auth", "/auth/token")) in page.requests
    assert any(each.url.startswith(gateway.api("users", "/users/me")) for each in page.requests)
