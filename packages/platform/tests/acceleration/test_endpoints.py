"""Compiled endpoints answer exactly as FastAPI answers them."""

from collections.abc import AsyncIterator
from datetime import date
from enum import StrEnum
from functools import cache
from typing import Annotated, Any
from urllib.parse import quote
from uuid import UUID

import httpx2
import pytest
from fastapi import APIRouter, Body, Cookie, Depends, Header, Path, Query, Request, Security
from fastapi.requests import HTTPConnection
from fastapi.routing import iter_route_contexts
from fastapi.security import SecurityScopes
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field
from starlette.background import BackgroundTasks
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, PlainTextResponse, Response

from service_platform.acceleration.endpoints import compile_endpoint
from service_platform.app import ServiceApp, create_app
from service_platform.errors import NotFound, Unauthorized
from service_platform.etags import NotModified, Preconditions, etag_of
from service_platform.middleware.admission import AdmissionMiddleware
from service_platform.settings import PlatformSettings

calls: list[str] = []


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Lamp(BaseModel):
    number: int
    name: str = Field(default="lamp", serialization_alias="title")
    note: str | None = None


class Filters(BaseModel):
    limit: int = Field(default=10, le=100)
    tags: list[str] = []


async def nothing() -> None:
    """Overridden to make FastAPI answer."""


async def counted(request: Request) -> int:
    calls.append("counted")
    return len(request.url.path)


async def of_counted(number: Annotated[int, Depends(counted)], q: int = 1) -> int:
    calls.append("of_counted")
    return number + q


async def not_cached(x_trace: Annotated[str, Header()] = "none") -> str:
    calls.append("not_cached")
    return x_trace


async def scopes(required: SecurityScopes) -> str:
    calls.append(f"scopes {required.scope_str}")
    return required.scope_str


async def refusing(authorization: Annotated[str | None, Header()] = None) -> str:
    if authorization is None:
        raise Unauthorized
    return authorization


class PathOfConnection:
    async def __call__(self, connection: HTTPConnection) -> str:
        return connection.url.path


def in_a_thread() -> str:
    return "thread"


async def generated() -> AsyncIterator[str]:
    yield "generated"


router = APIRouter(prefix="/lamps")


@router.get("/plain/{number}")
async def plain(number: Annotated[int, Path(ge=1)]) -> Lamp:
    return Lamp(number=number)


@router.get("/kinds/{colour}/{day}/{identifier}")
async def kinds(colour: Colour, day: date, identifier: UUID) -> dict[str, str]:
    return {"colour": colour, "day": day.isoformat(), "identifier": identifier.hex}


@router.get("/rest/{rest:path}")
async def rest(rest: str) -> str:
    return rest


@router.get("/queries")
async def queries(
    limit: Annotated[int, Query(le=100)],
    tag: Annotated[list[str], Query(min_length=1)],
    since: Annotated[date | None, Query(alias="from")] = None,
) -> dict[str, Any]:
    return {"limit": limit, "tag": tag, "since": since}


@router.get("/model")
async def model(
    filters: Annotated[Filters, Query()], session: Annotated[str | None, Cookie()] = None
) -> dict[str, Any]:
    return {"filters": filters.model_dump(), "session": session}


@router.get("/tree", dependencies=[Depends(counted), Depends(nothing)])
async def tree(
    a: Annotated[int, Depends(of_counted)],
    b: Annotated[int, Depends(counted)],
    c: Annotated[str, Depends(not_cached, use_cache=False)],
    d: Annotated[str, Depends(not_cached, use_cache=False)],
    e: Annotated[str, Depends(PathOfConnection())],
) -> list[Any]:
    return [a, b, c, d, e]


@router.get("/scopes")
async def scoped(
    a: Annotated[str, Security(scopes, scopes=["read"])],
    b: Annotated[str, Security(scopes, scopes=["read", "write"])],
    c: Annotated[str, Security(scopes, scopes=["read"])],
) -> list[str]:
    return [a, b, c]


@router.get("/guarded/{number}")
async def guarded(number: int, who: Annotated[str, Depends(refusing)], limit: int = 1) -> list[Any]:
    return [number, who, limit]


@router.get("/failing", dependencies=[Depends(of_counted)])
async def failing(limit: int) -> Lamp:
    raise NotFound


@router.get("/wrong")
async def wrong() -> Lamp:
    return {"number": "none"}  # type: ignore[return-value]


@router.get("/own", response_model=Lamp)
async def own(request: Request) -> Response:
    return PlainTextResponse(request.method, 203, {"x-own": "1"})


@router.get(
    "/shaped", status_code=202, response_model_exclude_none=True, response_model_by_alias=False
)
async def shaped() -> Lamp:
    return Lamp(number=1)


async def tagged(response: Response) -> Response:
    response.headers["etag"] = '"1"'
    return response


@router.get("/headers")
async def headers(
    same: Annotated[Response, Depends(tagged)], response: Response, status: int | None = None
) -> str:
    assert same is response
    response.headers["x-set"] = "1"
    response.headers.append("x-set", "2")
    response.set_cookie("lamp", "1")
    if status is not None:
        response.status_code = status
    return "set"


@router.get("/headers-of-refusal")
async def headers_of_refusal(response: Response) -> str:
    response.headers["x-set"] = "1"
    raise NotFound


@router.get("/headers-beside", response_model=Lamp)
async def headers_beside(response: Response) -> Response:
    response.headers["x-set"] = "1"
    return PlainTextResponse("own")


@router.get("/versions/{version}")
async def versioned(version: int, preconditions: Preconditions) -> Lamp:
    preconditions.check(etag_of(version), headers={"cache-control": "no-cache"})
    preconditions.tag(etag_of(version))
    return Lamp(number=version)


# What only FastAPI can answer.


@router.get("/sync")
def sync() -> str:
    return "sync"


@router.get("/thread")
async def thread(a: Annotated[str, Depends(in_a_thread)]) -> str:
    return a


@router.get("/generator")
async def generator(a: Annotated[str, Depends(generated)]) -> str:
    return a


@router.get("/stream")
async def stream() -> AsyncIterator[Lamp]:
    yield Lamp(number=1)


@router.post("/body")
async def body(lamp: Annotated[Lamp, Body()]) -> Lamp:
    return lamp


@router.get("/background")
async def background(tasks: BackgroundTasks) -> str:
    return type(tasks).__name__


@router.get("/otherwise", response_class=JSONResponse)
async def otherwise() -> dict[str, int]:
    return {"a": 1}


@router.get("/empty", status_code=205)
async def empty() -> None:
    return None


ONLY_FASTAPI = {
    "/sync", "/thread", "/generator", "/stream", "/body", "/background", "/otherwise", "/empty",
}  # fmt: skip


@cache
def lamps() -> ServiceApp:
    settings = PlatformSettings(rate_limit_enabled=False, log_level="CRITICAL", environment="test")
    return create_app(settings, routers=[router], resources=[])


@pytest.fixture
def app() -> ServiceApp:
    return lamps()


async def ask(app: ServiceApp, path: str, **options: Any) -> tuple[Any, ...]:
    """What the caller sees, and which dependencies were called."""
    calls.clear()
    transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://lamps.test") as client:
        client.headers["X-Request-ID"] = "0b9d4d52-9c33-7a55-a55f-2f3f0f0c9a01"
        client.headers["traceparent"] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
        answer = await client.get(f"/api/v1/lamps{path}", **options)
    seen = {name: value for name, value in answer.headers.items() if name != "x-response-time"}
    content = answer.json() if answer.text[:1] in {"{", "["} else answer.text
    return answer.status_code, seen, content, [*calls]


async def both(app: ServiceApp, path: str, **options: Any) -> tuple[Any, ...]:
    """The same question asked both ways; the answer, when it is the same."""
    compiled = await ask(app, path, **options)
    app.dependency_overrides[nothing] = nothing
    try:
        by_fastapi = await ask(app, path, **options)
    finally:
        app.dependency_overrides.clear()
    assert compiled == by_fastapi
    return compiled


def test_endpoints_are_compiled_where_they_can_be(app: ServiceApp) -> None:
    prefix = "/api/v1/lamps"
    compiled = {
        str(route.path).removeprefix(prefix): compile_endpoint(route) is not None
        for route in iter_route_contexts(app.routes)
        if str(route.path).startswith(prefix)
    }
    assert {path for path, found in compiled.items() if not found} == ONLY_FASTAPI
    assert len(compiled) > len(ONLY_FASTAPI) + 10


async def test_nothing_is_compiled_without_acceleration() -> None:
    settings = PlatformSettings(
        rate_limit_enabled=False, log_level="CRITICAL", acceleration=False, environment="test"
    )
    app = create_app(settings, routers=[router])
    assert (await ask(app, "/tree"))[0] == 200
    admission = app.router.middleware_stack
    assert isinstance(admission, AdmissionMiddleware)
    scope = {"type": "http", "method": "GET", "path": "/api/v1/lamps/tree", "headers": []}
    match = admission.table.find(scope, "/api/v1/lamps/tree")
    assert match is not None
    assert match.info.compiled is None


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/plain/7", 200),
        ("/plain/0", 422),
        ("/plain/seven", 422),
        ("/kinds/red/2026-11-23/0b9d4d52-9c33-4a55-a55f-2f3f0f0c9a01", 200),
        ("/kinds/green/yesterday/7", 422),
        ("/rest/a/b", 200),
        ("/rest/", 200),
        ("/queries?limit=5&tag=a&tag=b&from=2026-01-01", 200),
        ("/queries?limit=500&from=x", 422),
        ("/queries", 422),
        ("/model?limit=5&tags=a&tags=b", 200),
        ("/model?limit=500", 422),
        ("/tree", 200),
        ("/tree?q=7", 200),
        ("/tree?q=x", 422),
        ("/scopes", 200),
        ("/guarded/7", 401),
        ("/guarded/x?limit=y", 401),
        ("/failing?limit=1", 404),
        ("/failing?limit=x&q=x", 422),
        ("/failing", 422),
        ("/own", 203),
        ("/shaped", 202),
        ("/empty", 205),
        ("/headers", 200),
        ("/headers?status=202", 202),
        ("/headers?status=204", 204),
        ("/headers?status=x", 422),
        ("/headers-of-refusal", 404),
        ("/headers-beside", 200),
    ],
)
async def test_the_answer_is_the_same(app: ServiceApp, path: str, status: int) -> None:
    assert (await both(app, path))[0] == status


async def test_what_callers_send_beside_the_path_is_read_the_same(app: ServiceApp) -> None:
    answer = await both(app, "/tree", headers={"X-Trace": "t"})
    assert answer[2][2:4] == ["t", "t"]
    assert answer[3] == ["counted", "of_counted", "not_cached", "not_cached"]
    assert (await both(app, "/model", headers={"Cookie": "session=s"}))[2]["session"] == "s"
    answer = await both(app, "/guarded/x?limit=y", headers={"Authorization": "me"})
    assert [each["field"] for each in answer[2]["details"]] == ["path.number", "query.limit"]


@pytest.mark.parametrize(
    ("conditions", "status"),
    [
        ({}, 200),
        ({"If-None-Match": '"1"'}, 304),
        ({"If-Match": '"2"'}, 412),
        ({"If-Match": "1"}, 400),
    ],
)
async def test_preconditions_are_answered_the_same(
    app: ServiceApp, conditions: dict[str, str], status: int
) -> None:
    answer = await both(app, "/versions/1", headers=conditions)
    assert answer[0] == status
    assert answer[1].get("etag") == ('"1"' if status in {200, 304} else None)


@pytest.mark.parametrize("handled", [NotModified, HTTPException, 304])
async def test_a_handler_of_the_service_answers_not_modified(handled: Any) -> None:
    async def own(_: Request, __: Exception) -> Response:
        return Response("own", 299)

    settings = PlatformSettings(rate_limit_enabled=False, log_level="CRITICAL", environment="test")
    app = create_app(settings, routers=[router], exception_handlers={handled: own})
    answer = await both(app, "/versions/1", headers={"If-None-Match": '"1"'})
    assert (answer[0], answer[2]) == (299, "own")


async def test_a_result_that_is_not_what_was_declared_is_our_error(app: ServiceApp) -> None:
    assert (await both(app, "/wrong"))[0] == 500


async def test_a_dependency_is_not_called_with_wrong_input(app: ServiceApp) -> None:
    assert (await both(app, "/tree?q=x"))[3] == ["counted", "not_cached", "not_cached"]


async def test_a_test_may_override_a_dependency(app: ServiceApp) -> None:
    async def one() -> int:
        return 1

    app.dependency_overrides[counted] = one
    try:
        assert (await ask(app, "/tree"))[2][:2] == [2, 1]
    finally:
        app.dependency_overrides.clear()


values = st.text(st.characters(codec="utf-8"), max_size=6) | st.integers().map(str)


@settings(deadline=None)  # each example has an event loop of its own
@given(limit=values, tags=st.lists(values, max_size=3), q=values, number=values)
async def test_whatever_callers_send_is_answered_the_same(
    limit: str, tags: list[str], q: str, number: str
) -> None:
    app = lamps()
    await both(app, "/queries", params={"limit": limit, "tag": tags, "from": q})
    await both(app, "/model", params={"limit": limit, "tags": tags})
    await both(app, "/tree", params={"q": q})
    await both(app, f"/plain/{quote(number)}")
