"""Starlette's SessionMiddleware."""

from collections.abc import Callable

import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware


@pytest.fixture(params=["add_middleware", "middleware="])
def client(
    request: pytest.FixtureRequest,
    application: Callable[..., FastAPI],
    open_client: Callable[..., TestClient],
) -> TestClient:
    if request.param == "add_middleware":
        app = application()
        app.add_middleware(SessionMiddleware, secret_key="secret of a test", https_only=True)
    else:
        session = Middleware(SessionMiddleware, secret_key="secret of a test", https_only=True)
        app = application(middleware=[session])

    @app.post("/basket/{thing}")
    async def put(thing: str, request: Request) -> list[str]:
        basket = [*request.session.get("basket", []), thing]
        request.session["basket"] = basket
        return basket

    @app.delete("/basket")
    async def empty(request: Request) -> None:
        request.session.clear()

    @app.get("/basket")
    def read(request: Request) -> list[str]:
        basket: list[str] = request.session.get("basket", [])
        return basket

    return open_client(app, base_url="https://testserver")


def test_a_session_is_kept_in_its_cookie(client: TestClient) -> None:
    first = client.post("/basket/apple")
    (cookie,) = first.headers.get_list("set-cookie")
    assert cookie.startswith("session=")
    for attribute in ("path=/", "httponly", "samesite=lax", "secure"):
        assert attribute in cookie.lower()
    assert client.post("/basket/pear").json() == ["apple", "pear"]
    assert client.get("/basket").json() == ["apple", "pear"]
    client.delete("/basket")
    assert client.get("/basket").json() == []
    assert "session" not in client.cookies


def test_a_changed_cookie_is_no_session(client: TestClient) -> None:
    client.post("/basket/apple")
    value = client.cookies["session"]
    client.cookies.clear()
    answer = client.get("/basket", headers={"cookie": f"session=x{value}"})
    assert answer.json() == []
