"""The pages, their files and the document, as a client gets them."""

import re
from typing import Any

import httpx2
import pytest

from service_platform.app import ServiceApp, create_app
from service_platform.settings import PlatformSettings

PAGES = ["/docs", "/redoc"]


def assets_of(page: str) -> list[str]:
    return re.findall(r'(?:src|href)="([^"]+)"', page)


def policy_of(response: httpx2.Response) -> dict[str, list[str]]:
    (policy,) = response.headers.get_list("content-security-policy")
    directives = [directive.split() for directive in policy.split(";")]
    return {name: sources for name, *sources in directives}


@pytest.mark.parametrize("page", PAGES)
async def test_scripts_are_files_of_the_service_only(client: httpx2.AsyncClient, page: str) -> None:
    response = await client.get(page)
    policy = policy_of(response)
    assert policy["default-src"] == ["'none'"]
    assert policy["script-src"] == ["'self'"]
    assert re.findall(r"<script(?![^>]*\bsrc=)", response.text) == []
    assert re.findall(r"\son\w+=", response.text) == []
    assert all(path.startswith("/docs/assets/") for path in assets_of(response.text))


async def test_the_page_may_call_the_service_and_auth_alone(client: httpx2.AsyncClient) -> None:
    document = (await client.get("/api/v1/openapi.json")).json()
    issuer = policy_of(await client.get("/docs"))["connect-src"]
    assert issuer[0] == "'self'"
    assert len(issuer) == 2
    schemes = document.get("components", {}).get("securitySchemes", {})
    for scheme in schemes.values():
        for flow in scheme.get("flows", {}).values():
            assert flow["tokenUrl"].startswith(f"{issuer[1]}/")


@pytest.mark.parametrize("page", PAGES)
async def test_every_file_a_page_names_is_there_and_kept_for_ever(
    client: httpx2.AsyncClient, page: str
) -> None:
    paths = assets_of((await client.get(page)).text)
    assert paths
    for path in paths:
        response = await client.get(path)
        assert response.status_code == 200
        assert response.headers["cache-control"] == "public, max-age=31536000, immutable"
        known = {"if-none-match": response.headers["etag"]}
        assert (await client.get(path, headers=known)).status_code == 304


@pytest.mark.parametrize("path", [*PAGES, "/api/v1/openapi.json"])
async def test_head_answers_as_get_does_without_a_body(
    client: httpx2.AsyncClient, path: str
) -> None:
    got, head = await client.get(path), await client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == got.headers["content-type"]
    assert head.headers.get("content-length") == got.headers.get("content-length")


async def test_the_document_is_not_sent_again_to_whoever_has_it(
    client: httpx2.AsyncClient,
) -> None:
    first = await client.get("/api/v1/openapi.json")
    assert first.json()["openapi"].startswith("3.1")
    again = await client.get(
        "/api/v1/openapi.json", headers={"if-none-match": first.headers["etag"]}
    )
    assert (again.status_code, again.content) == (304, b"")


async def test_behind_a_path_prefix_the_page_names_its_files_there(
    app: httpx2.ASGITransport,
) -> None:
    transport = httpx2.ASGITransport(app, root_path="/shop")  # type: ignore[arg-type]
    async with httpx2.AsyncClient(transport=transport, base_url="http://service.test") as client:
        page = (await client.get("/docs")).text
    assert all(path.startswith("/shop/docs/assets/") for path in assets_of(page))
    assert 'data-document="/shop/api/v1/openapi.json"' in page


async def test_the_root_leads_to_the_documentation(client: httpx2.AsyncClient) -> None:
    for method in ("GET", "HEAD"):
        response = await client.request(method, "/")
        assert (response.status_code, response.headers["location"]) == (302, "/docs")
    assert (await client.post("/")).status_code == 404


@pytest.mark.parametrize(
    ("pages", "status", "location"),
    [
        ({"docs_url": "/manual"}, 302, "/manual"),
        ({"docs_url": None}, 302, "/redoc"),
        ({"docs_url": None, "redoc_url": None}, 404, None),
        ({"openapi_url": None}, 404, None),
    ],
)
async def test_the_root_leads_where_the_pages_are(
    pages: dict[str, Any], status: int, location: str | None
) -> None:
    app = create_app(PlatformSettings(environment="test", log_level="CRITICAL"), **pages)
    response = await get_root(app)
    assert (response.status_code, response.headers.get("location")) == (status, location)


async def test_no_documentation_is_no_redirect() -> None:
    settings = PlatformSettings(environment="test", log_level="CRITICAL", docs_enabled=False)
    assert (await get_root(create_app(settings))).status_code == 404


async def test_a_route_of_the_service_for_its_root_counts_also_when_it_is_added_later() -> None:
    app = create_app(PlatformSettings(environment="test", log_level="CRITICAL"))

    @app.get("/")
    async def root() -> str:
        return "root"

    assert (await get_root(app)).json() == "root"


async def get_root(app: ServiceApp) -> httpx2.Response:
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://docs.test") as client:
        return await client.get("/")
