"""The OpenAPI document and its pages, where and how an application wants them."""

from collections.abc import Callable
from typing import Any

from fastapi import Depends, FastAPI, Request, Security
from fastapi.openapi.utils import get_openapi
from fastapi.security import APIKeyHeader, HTTPBasic, OAuth2PasswordBearer
from fastapi.testclient import TestClient
from pydantic import BaseModel


class Book(BaseModel):
    title: str


def test_the_openapi_document_and_its_pages_where_the_application_wants_them(
    application: Callable[..., FastAPI], open_client: Callable[..., TestClient]
) -> None:
    app = application(
        title="Library",
        version="2.1",
        openapi_url="/api/openapi.json",
        docs_url="/documentation",
        redoc_url=None,
        openapi_tags=[{"name": "books", "description": "What is read"}],
        servers=[{"url": "https://library.example"}],
    )

    @app.get("/books", tags=["books"], summary="List books", responses={410: {"model": Book}})
    async def books() -> list[Book]:
        return []

    @app.get("/hidden", include_in_schema=False)
    async def hidden() -> None: ...

    client = open_client(app)
    document = client.get("/api/openapi.json").json()
    assert (document["info"]["title"], document["info"]["version"]) == ("Library", "2.1")
    assert document["tags"] == [{"name": "books", "description": "What is read"}]
    assert document["servers"] == [{"url": "https://library.example"}]
    assert document["paths"]["/books"]["get"]["summary"] == "List books"
    assert "410" in document["paths"]["/books"]["get"]["responses"]
    assert "/hidden" not in document["paths"]
    page = client.get("/documentation")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert "/api/openapi.json" in page.text
    for path in ("/openapi.json", "/redoc"):
        assert client.get(path).status_code == 404


def test_no_openapi_document_at_all(
    application: Callable[..., FastAPI], open_client: Callable[..., TestClient]
) -> None:
    client = open_client(application(openapi_url=None))
    for path in ("/openapi.json", "/docs", "/redoc"):
        assert client.get(path).status_code == 404


def test_an_openapi_function_of_ones_own(
    application: Callable[..., FastAPI], open_client: Callable[..., TestClient]
) -> None:
    app = application()

    @app.get("/books")
    async def books() -> None: ...

    def custom_openapi() -> dict[str, Any]:
        if not app.openapi_schema:
            made = get_openapi(title="Custom", version="3", routes=app.routes)
            made["info"]["x-logo"] = {"url": "https://library.example/logo.png"}
            app.openapi_schema = made
        return app.openapi_schema

    app.openapi = custom_openapi  # type: ignore[method-assign]
    document = open_client(app).get("/openapi.json").json()
    assert document["info"]["title"] == "Custom"
    assert document["info"]["x-logo"] == {"url": "https://library.example/logo.png"}
    assert "/books" in document["paths"]


def test_the_root_path_of_a_server(application: Callable[..., FastAPI]) -> None:
    app = application()

    @app.get("/books")
    async def books(request: Request) -> list[str]:
        return [request.scope["root_path"], str(request.url_for("books"))]

    client = TestClient(app, root_path="/shop")
    assert client.get("/shop/books").json() == ["/shop", "http://testserver/shop/books"]
    assert client.get("/shop/openapi.json").json()["servers"] == [{"url": "/shop"}]


def test_an_operation_id_of_ones_own(application: Callable[..., FastAPI]) -> None:
    app = application(generate_unique_id_function=lambda route: f"own-{route.name}")

    @app.get("/books")
    async def books() -> None: ...

    assert app.openapi()["paths"]["/books"]["get"]["operationId"] == "own-books"


def test_security_schemes_are_those_of_the_application(
    application: Callable[..., FastAPI], open_client: Callable[..., TestClient]
) -> None:
    app = application()

    @app.get("/basic", dependencies=[Depends(HTTPBasic())])
    async def basic() -> None: ...

    @app.get("/key", dependencies=[Security(APIKeyHeader(name="X-Key"))])
    async def key() -> None: ...

    @app.get("/oauth", dependencies=[Security(OAuth2PasswordBearer("/token"), scopes=["read"])])
    async def oauth() -> None: ...

    document = open_client(app).get("/openapi.json").json()
    assert {name: scheme["type"] for name, scheme in schemes_of(document).items()} == {
        "HTTPBasic": "http",
        "APIKeyHeader": "apiKey",
        "OAuth2PasswordBearer": "oauth2",
    }
    for path, security in {
        "/basic": {"HTTPBasic": []},
        "/key": {"APIKeyHeader": []},
        "/oauth": {"OAuth2PasswordBearer": ["read"]},
    }.items():
        assert document["paths"][path]["get"]["security"] == [security]


def schemes_of(document: dict[str, Any]) -> dict[str, Any]:
    schemes: dict[str, Any] = document["components"]["securitySchemes"]
    return schemes
