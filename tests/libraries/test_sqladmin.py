"""sqladmin, mounted on an application, on PostgreSQL through an asynchronous engine."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from applications_under_test import FASTAPI
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient
from sqladmin import Admin, ModelView
from sqladmin.authentication import AuthenticationBackend
from sqlalchemy import NullPool
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

POLICY = "default-src 'self' 'unsafe-inline'"


class Base(DeclarativeBase):
    pass


class Book(Base):
    __tablename__ = "library_books"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]


class BookAdmin(ModelView, model=Book):
    column_list = ("id", "title")
    column_searchable_list = ("title",)


class OneLibrarian(AuthenticationBackend):
    async def login(self, request: Request) -> bool:
        form = await request.form()
        if form["username"] != "librarian" or form["password"] != "right":
            return False
        request.session["user_id"] = "librarian"
        return True

    async def logout(self, request: Request) -> bool:
        request.session.clear()
        return False

    async def authenticate(self, request: Request) -> bool:
        return "user_id" in request.session


@pytest.fixture(scope="session")
def service() -> str:
    """Whose migrated database is used; the table of this test is added to it."""
    return "users"


@pytest.fixture
def client(
    kind: str,
    application: Callable[..., FastAPI],
    open_client: Callable[..., TestClient],
    database_url: str,
) -> TestClient:
    address = "postgresql+asyncpg://" + database_url.partition("://")[2]
    engine: AsyncEngine = create_async_engine(address, poolclass=NullPool)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        yield
        await engine.dispose()

    # FastAPI sends no policy, and has no option for one.
    options = {} if kind == FASTAPI else {"content_security_policies": {"/admin": POLICY}}
    app = application(lifespan=lifespan, **options)
    admin = Admin(app, engine, authentication_backend=OneLibrarian(secret_key="secret of a test"))
    admin.add_view(BookAdmin)
    return open_client(app)


def sign_in(client: TestClient) -> None:
    answer = client.post("/admin/login", data={"username": "librarian", "password": "right"})
    assert answer.status_code == 200
    assert answer.url.path == "/admin/"


def test_pages_ask_for_a_login(client: TestClient) -> None:
    answer = client.get("/admin/book/list", follow_redirects=False)
    assert answer.status_code == 302
    assert answer.headers["location"].endswith("/admin/login")
    wrong = client.post("/admin/login", data={"username": "librarian", "password": "wrong"})
    assert wrong.status_code == 400
    assert "Invalid credentials." in wrong.text


def test_rows_are_created_listed_changed_and_deleted(client: TestClient) -> None:
    sign_in(client)
    created = client.post("/admin/book/create", data={"title": "Middlemarch", "save": "Save"})
    assert created.url.path == "/admin/book/list"
    assert "Middlemarch" in created.text
    assert "Middlemarch" in client.get("/admin/book/list", params={"search": "march"}).text
    assert "Middlemarch" not in client.get("/admin/book/list", params={"search": "else"}).text
    client.post("/admin/book/edit/1", data={"title": "Silas Marner", "save": "Save"})
    assert "Silas Marner" in client.get("/admin/book/details/1").text
    deleted = client.delete("/admin/book/delete", params={"pks": "1"})
    assert deleted.status_code == 200
    assert "Silas Marner" not in client.get("/admin/book/list").text


def test_an_unknown_page_is_answered_by_the_page_of_the_library(client: TestClient) -> None:
    sign_in(client)
    answer = client.get("/admin/magazine/list")
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/html")


def test_after_the_logout_pages_ask_for_a_login_again(client: TestClient) -> None:
    sign_in(client)
    assert client.get("/admin/logout").url.path == "/admin/login"
    assert client.get("/admin/book/list").url.path == "/admin/login"


def test_static_files_are_served_and_revalidated(client: TestClient) -> None:
    answer = client.get("/admin/statics/css/main.css")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/css")
    again = client.get(
        "/admin/statics/css/main.css", headers={"if-none-match": answer.headers["etag"]}
    )
    assert again.status_code == 304
    assert client.get("/admin/statics/css/none.css").status_code == 404


def test_the_policy_of_the_pages_lets_their_inline_scripts_run(
    kind: str, client: TestClient
) -> None:
    if kind == FASTAPI:
        pytest.skip("FastAPI itself sends no Content-Security-Policy")
    for path in ("/admin/login", "/admin/statics/css/main.css"):
        assert client.get(path).headers.get_list("content-security-policy") == [POLICY]
    (elsewhere,) = client.get("/administration").headers.get_list("content-security-policy")
    assert elsewhere != POLICY
