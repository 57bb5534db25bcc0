"""fastapi-pagination: `Page[T]` as the response model and `add_pagination(app)`."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated

import pytest
from fastapi import APIRouter, Depends, FastAPI
from fastapi.testclient import TestClient
from fastapi_pagination import LimitOffsetPage, Page, add_pagination, paginate
from fastapi_pagination.ext.sqlalchemy import apaginate
from pydantic import BaseModel
from sqlalchemy import NullPool, func, select
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

pytestmark = pytest.mark.filterwarnings(
    # SQLAlchemy is installed, and what is paged here is a list nevertheless.
    "ignore:Package .sqlalchemy. is installed:fastapi_pagination.utils.FastAPIPaginationWarning"
)


class Book(BaseModel):
    title: str


class Row(BaseModel):
    number: int


BOOKS = [Book(title=f"book {number}") for number in range(7)]


@pytest.fixture(params=["on the application", "on a router included later"])
def client(
    request: pytest.FixtureRequest,
    application: Callable[..., FastAPI],
    open_client: Callable[..., TestClient],
) -> TestClient:
    app = application()
    if request.param == "on the application":

        @app.get("/shop/books")
        async def books() -> Page[Book]:
            page: Page[Book] = paginate(BOOKS)
            return page

        add_pagination(app)
        return open_client(app)

    router = APIRouter(prefix="/shop")

    @router.get("/books")
    def books_of_router() -> Page[Book]:
        page: Page[Book] = paginate(BOOKS)
        return page

    add_pagination(app)
    app.include_router(router)
    return open_client(app)


def test_a_page_is_cut_from_the_list(client: TestClient) -> None:
    answer = client.get("/shop/books", params={"page": 2, "size": 3})
    assert answer.json() == {
        "items": [{"title": "book 3"}, {"title": "book 4"}, {"title": "book 5"}],
        "total": 7,
        "page": 2,
        "size": 3,
        "pages": 3,
    }
    assert len(client.get("/shop/books").json()["items"]) == 7


def test_parameters_out_of_range_are_refused(client: TestClient) -> None:
    assert client.get("/shop/books", params={"page": 0}).status_code == 422
    assert client.get("/shop/books", params={"size": 101}).status_code == 422


def test_the_openapi_document_tells_the_parameters_and_the_page(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    operation = document["paths"]["/shop/books"]["get"]
    assert {each["name"] for each in operation["parameters"]} >= {"page", "size"}
    schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
    assert schema == {"$ref": "#/components/schemas/Page_Book_"}
    assert set(document["components"]["schemas"]["Page_Book_"]["properties"]) == {
        "items",
        "total",
        "page",
        "size",
        "pages",
    }


@pytest.fixture(scope="session")
def service() -> str:
    """Whose database is used; the rows of this test are made by the query itself."""
    return "users"


@pytest.mark.parametrize(
    ("kind_of_page", "second"),
    [(Page[Row], {"page": 2, "size": 4}), (LimitOffsetPage[Row], {"offset": 4, "limit": 4})],
)
def test_pages_of_a_query(
    application: Callable[..., FastAPI],
    open_client: Callable[..., TestClient],
    database_url: str,
    kind_of_page: type[Page[Row]] | type[LimitOffsetPage[Row]],
    second: dict[str, int],
) -> None:
    address = "postgresql+asyncpg://" + database_url.partition("://")[2]
    engine = create_async_engine(address, poolclass=NullPool)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await engine.dispose()

    async def session() -> AsyncIterator[AsyncSession]:
        async with AsyncSession(engine) as opened:
            yield opened

    app = application(lifespan=lifespan)

    @app.get("/numbers", response_model=kind_of_page)
    async def numbers(session: Annotated[AsyncSession, Depends(session)]) -> object:
        rows = func.generate_series(1, 7).table_valued("number").render_derived()
        return await apaginate(session, select(rows.c.number).order_by(rows.c.number))

    add_pagination(app)
    client = open_client(app)
    page = client.get("/numbers", params=second).json()
    assert page["items"] == [{"number": 5}, {"number": 6}, {"number": 7}]
    assert page["total"] == 7
