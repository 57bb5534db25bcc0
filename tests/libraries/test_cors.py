"""CORSMiddleware added by the application: its rules are the ones that count."""

from collections.abc import Callable

import pytest
from fastapi import FastAPI, HTTPException
from fastapi.middleware.cors import CORSMiddleware
from fastapi.testclient import TestClient

PREFLIGHT = {"access-control-request-method": "DELETE", "access-control-request-headers": "X-Own"}


def with_routes(app: FastAPI) -> FastAPI:
    @app.get("/words")
    async def words() -> str:
        return "words"

    @app.get("/forbidden")
    async def forbidden() -> None:
        raise HTTPException(403)

    return app


@pytest.fixture(params=["https://shop.example", "http://localhost:3000"])
def shop(request: pytest.FixtureRequest) -> str:
    """An allowed origin; the second is one that every development server has."""
    return str(request.param)


@pytest.fixture
def client(
    application: Callable[..., FastAPI], open_client: Callable[..., TestClient], shop: str
) -> TestClient:
    app = with_routes(application())
    app.add_middleware(
        CORSMiddleware,
        allow_origins=[shop],
        allow_methods=["GET", "DELETE"],
        allow_headers=["X-Own"],
        allow_credentials=True,
        expose_headers=["X-Total"],
        max_age=60,
    )
    return open_client(app)


def test_a_preflight_request_is_answered_by_own_rules(client: TestClient, shop: str) -> None:
    answer = client.options("/words", headers={"origin": shop} | PREFLIGHT)
    assert answer.status_code == 200
    assert answer.headers.get_list("access-control-allow-origin") == [shop]
    assert answer.headers.get_list("access-control-allow-credentials") == ["true"]
    assert answer.headers.get_list("access-control-max-age") == ["60"]
    (methods,) = answer.headers.get_list("access-control-allow-methods")
    assert set(methods.split(", ")) == {"GET", "DELETE"}
    (headers,) = answer.headers.get_list("access-control-allow-headers")
    assert "x-own" in headers.lower()


def test_responses_have_the_headers_of_the_application_once(client: TestClient, shop: str) -> None:
    for path, status in {"/words": 200, "/forbidden": 403, "/none": 404}.items():
        answer = client.get(path, headers={"origin": shop})
        assert answer.status_code == status
        assert answer.headers.get_list("access-control-allow-origin") == [shop]
        assert answer.headers.get_list("access-control-allow-credentials") == ["true"]
        assert answer.headers.get_list("access-control-expose-headers") == ["X-Total"]
        assert "Origin" in answer.headers["vary"]


def test_another_origin_is_refused(client: TestClient) -> None:
    stranger = {"origin": "https://elsewhere.example"}
    refused = client.options("/words", headers=stranger | PREFLIGHT)
    assert (refused.status_code, refused.text) == (400, "Disallowed CORS origin")
    answer = client.get("/words", headers=stranger)
    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers


def test_an_origin_of_this_machine_is_another_origin_too(
    application: Callable[..., FastAPI], open_client: Callable[..., TestClient]
) -> None:
    app = with_routes(application())
    app.add_middleware(CORSMiddleware, allow_origins=["https://shop.example"])
    answer = open_client(app).get("/words", headers={"origin": "http://localhost:9999"})
    assert "access-control-allow-origin" not in answer.headers


def test_every_origin_is_allowed(
    application: Callable[..., FastAPI], open_client: Callable[..., TestClient]
) -> None:
    app = with_routes(application())
    app.add_middleware(CORSMiddleware, allow_origins=["*"])
    answer = open_client(app).get("/words", headers={"origin": "https://any.example"})
    assert answer.headers.get_list("access-control-allow-origin") == ["*"]


def test_a_route_may_answer_options_itself(
    application: Callable[..., FastAPI], open_client: Callable[..., TestClient]
) -> None:
    app = with_routes(application())

    @app.options("/words")
    async def options() -> str:
        return "own"

    answer = open_client(app).options(
        "/words", headers={"origin": "https://elsewhere.example"} | PREFLIGHT
    )
    assert (answer.status_code, answer.json()) == (200, "own")
