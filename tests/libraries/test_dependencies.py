"""Dependencies of every kind and their overrides."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import ContextVar
from typing import Annotated, Any

from fastapi import (
    APIRouter,
    Cookie,
    Depends,
    FastAPI,
    Header,
    HTTPException,
    Request,
    Response,
    Security,
)
from fastapi.responses import StreamingResponse
from fastapi.security import APIKeyHeader, HTTPBasic, HTTPBasicCredentials, SecurityScopes
from fastapi.testclient import TestClient


def test_dependencies_on_the_application_a_router_a_route_and_a_parameter(
    application: Callable[..., FastAPI], open_client: Callable[..., TestClient]
) -> None:
    def note(name: str) -> Any:
        async def noted(request: Request) -> str:
            request.state.notes = [*getattr(request.state, "notes", []), name]
            return name

        return Depends(noted)

    app = application(dependencies=[note("application")])
    router = APIRouter(prefix="/notes", dependencies=[note("router")])

    @router.get("", dependencies=[note("route")])
    def notes(request: Request, last: Annotated[str, note("parameter")]) -> list[str]:
        assert last == "parameter"
        noted: list[str] = request.state.notes
        return noted

    app.include_router(router, dependencies=[note("inclusion")])
    assert open_client(app).get("/notes").json() == [
        "application",
        "inclusion",
        "router",
        "route",
        "parameter",
    ]


def test_a_dependency_may_refuse_and_set_headers(
    application: Callable[..., FastAPI], open_client: Callable[..., TestClient]
) -> None:
    async def reader(
        response: Response,
        x_token: Annotated[str, Header()],
        theme: Annotated[str, Cookie()] = "light",
    ) -> str:
        if x_token != "right":
            raise HTTPException(400, "X-Token header invalid", headers={"X-Reason": "token"})
        response.headers["X-Theme"] = theme
        response.set_cookie("seen", "yes")
        return theme

    app = application()

    @app.get("/page")
    async def page(theme: Annotated[str, Depends(reader)]) -> str:
        return theme

    client = open_client(app)
    answer = client.get("/page", headers={"x-token": "right", "cookie": "theme=dark"})
    assert (answer.json(), answer.headers["x-theme"]) == ("dark", "dark")
    assert answer.headers["set-cookie"].startswith("seen=yes")
    refused = client.get("/page", headers={"x-token": "wrong"})
    assert (refused.status_code, refused.headers["x-reason"]) == (400, "token")
    assert client.get("/page").status_code == 422


def test_dependencies_with_yield_see_exceptions_and_end_in_reverse(
    application: Callable[..., FastAPI], open_client: Callable[..., TestClient]
) -> None:
    log: list[str] = []

    async def session() -> AsyncIterator[str]:
        log.append("open")
        try:
            yield "session"
        except RuntimeError:
            log.append("roll back")
            raise HTTPException(409, "try again") from None
        finally:
            log.append("close")

    def repository(of: Annotated[str, Depends(session)]) -> Iterator[str]:
        try:
            yield f"repository of {of}"
        except HTTPException:
            log.append("refused")
            raise
        finally:
            log.append("leave")

    Repository = Annotated[str, Depends(repository)]  # noqa: N806 - it is a type
    app = application()

    @app.get("/fine")
    async def fine(repository: Repository) -> str:
        log.append("route")
        return repository

    @app.get("/broken")
    def broken(repository: Repository) -> None:
        raise RuntimeError("the cause")

    @app.get("/refused")
    async def refused(repository: Repository) -> None:
        raise HTTPException(403)

    @app.get("/streamed")
    async def streamed(repository: Repository) -> StreamingResponse:
        def parts() -> Iterator[str]:
            log.append("stream")
            yield repository

        return StreamingResponse(parts(), media_type="text/plain")

    client = open_client(app)
    assert client.get("/fine").json() == "repository of session"
    assert log == ["open", "route", "leave", "close"]
    log.clear()
    assert client.get("/broken").status_code == 409
    assert log == ["open", "leave", "roll back", "close"]
    log.clear()
    assert client.get("/refused").status_code == 403
    assert log == ["open", "refused", "leave", "close"]
    log.clear()
    assert client.get("/streamed").text == "repository of session"
    assert log == ["open", "stream", "leave", "close"]


def test_context_variables_of_a_dependency_reach_the_route(
    application: Callable[..., FastAPI], open_client: Callable[..., TestClient]
) -> None:
    current: ContextVar[str] = ContextVar("current", default="nobody")

    async def sign_in(x_reader: Annotated[str, Header()]) -> AsyncIterator[None]:
        token = current.set(x_reader)
        yield
        current.reset(token)

    app = application(dependencies=[Depends(sign_in)])

    @app.get("/async")
    async def reader() -> str:
        return current.get()

    @app.get("/sync")
    def reader_in_a_thread() -> str:
        return current.get()

    client = open_client(app)
    for path in ("/async", "/sync"):
        assert client.get(path, headers={"x-reader": "Dorothea"}).json() == "Dorothea"


def test_security_of_fastapi(
    application: Callable[..., FastAPI], open_client: Callable[..., TestClient]
) -> None:
    async def reader(
        scopes: SecurityScopes, key: Annotated[str, Security(APIKeyHeader(name="X-Key"))]
    ) -> str:
        if key not in scopes.scopes:
            raise HTTPException(403)
        return key

    app = application()

    @app.get("/books")
    async def books(reader: Annotated[str, Security(reader, scopes=["books"])]) -> str:
        return reader

    @app.get("/basic")
    def basic(user: Annotated[HTTPBasicCredentials, Depends(HTTPBasic())]) -> str:
        return user.username

    client = open_client(app)
    assert client.get("/books", headers={"x-key": "books"}).json() == "books"
    assert client.get("/books", headers={"x-key": "other"}).status_code == 403
    assert client.get("/books").status_code == 401
    assert client.get("/basic", auth=("emma", "secret")).json() == "emma"
    refused = client.get("/basic")
    assert refused.status_code == 401
    assert refused.headers.get_list("www-authenticate") == ["Basic"]


def test_dependency_overrides(
    application: Callable[..., FastAPI], open_client: Callable[..., TestClient]
) -> None:
    def real() -> str:
        return "real"

    app = application()
    router = APIRouter()

    @router.get("/what")
    async def what(value: Annotated[str, Depends(real)]) -> str:
        return value

    app.include_router(router, prefix="/v1")
    client = open_client(app)
    assert client.get("/v1/what").json() == "real"
    app.dependency_overrides[real] = lambda: "other"
    assert client.get("/v1/what").json() == "other"
    app.dependency_overrides.clear()
    assert client.get("/v1/what").json() == "real"
