"""Time limits of requests: until the response starts, by the service, the route or the caller."""

import asyncio
import math
from collections.abc import Callable
from typing import Any

import anyio
import httpx2
import pytest
from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import PlainTextResponse
from fastapi.testclient import TestClient
from starlette.middleware.base import RequestResponseEndpoint
from starlette.responses import Response

from service_platform.app import ServiceApp
from service_platform.context import RequestContext
from service_platform.middleware import timeout
from service_platform.middleware.deadlines import Deadlines, RouteTimeout
from service_platform.settings import PlatformSettings

PATH = "/way/in"


def settings(**changed: Any) -> PlatformSettings:
    return PlatformSettings(
        _env_file=None,
        **{
            "environment": "test",
            "rate_limit_enabled": False,
            "request_timeout_seconds": 30,
            **changed,
        },
    )


def hangs_by_decorator(app: FastAPI) -> None:
    @app.get(PATH)
    @timeout(0.05)
    async def hang() -> None:
        await asyncio.Event().wait()


def hangs_in_a_mounted_application(app: FastAPI) -> None:
    inner = FastAPI()
    router = APIRouter()
    hangs_by_decorator(inner)
    inner.include_router(router)
    app.mount("/outer", inner)


def hangs_in_a_dependency(app: FastAPI) -> None:
    async def slow() -> None:
        await asyncio.Event().wait()

    @app.get(PATH, dependencies=[Depends(slow)])
    @timeout(0.05)
    async def never() -> None:
        raise AssertionError


def hangs_behind_a_middleware_with_tasks(app: FastAPI) -> None:
    @app.middleware("http")
    async def pass_on(request: Request, call_next: RequestResponseEndpoint) -> Response:
        return await call_next(request)

    hangs_by_decorator(app)


@pytest.mark.parametrize("acceleration", [True, False])
@pytest.mark.parametrize(
    ("add", "path"),
    [
        (hangs_by_decorator, PATH),
        (hangs_in_a_mounted_application, f"/outer{PATH}"),
        (hangs_in_a_dependency, PATH),
        (hangs_behind_a_middleware_with_tasks, PATH),
    ],
)
def test_a_route_is_given_up_at_its_time_limit(
    add: Callable[[FastAPI], None], path: str, acceleration: bool
) -> None:
    app = ServiceApp(settings=settings(acceleration=acceleration))
    add(app)
    with TestClient(app) as client:
        answer = client.get(path)
        assert (answer.status_code, answer.json()["error"]) == (504, "timeout")
        assert answer.headers["x-request-id"]
        assert client.get("/health/live").status_code == 200


def test_a_service_may_answer_its_timeouts_itself() -> None:
    app = ServiceApp(settings=settings())
    hangs_by_decorator(app)

    @app.exception_handler(504)
    def late(*_: object) -> PlainTextResponse:
        return PlainTextResponse("late", 504)

    with TestClient(app) as client:
        assert client.get(PATH).text == "late"


def test_a_route_may_take_longer_than_the_others_or_as_long_as_it_needs() -> None:
    app = ServiceApp(settings=settings(request_timeout_seconds=0.1))

    @app.get("/longer")
    @timeout(5)
    async def longer() -> str:
        await asyncio.sleep(0.3)
        return "done"

    @app.get("/unlimited")
    @timeout(None)
    async def unlimited() -> str:
        await asyncio.sleep(0.3)
        return "done"

    @app.get("/usual")
    async def usual() -> str:
        await asyncio.sleep(0.3)
        return "done"

    with TestClient(app) as client:
        assert client.get("/longer").json() == "done"
        assert client.get("/unlimited").json() == "done"
        assert client.get("/usual").status_code == 504
        hurried = client.get("/unlimited", headers={"x-request-timeout": "0.05"})
        assert hurried.status_code == 504


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_a_time_limit_is_positive(seconds: float) -> None:
    with pytest.raises(ValueError, match="positive"):
        timeout(seconds)


async def test_a_caller_in_a_hurry_shortens_its_own_time_and_nobody_lengthens_it() -> None:
    app = ServiceApp(settings=settings(request_timeout_seconds=0.5))

    @app.get("/hang")
    async def hang() -> None:
        await asyncio.Event().wait()

    @app.get("/fine")
    async def fine() -> str:
        return "fine"

    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
        async with asyncio.timeout(0.4):
            response = await client.get("/hang", headers={"x-request-timeout": "0.05"})
        assert response.status_code == 504
        for nonsense in ("-1", "soon", "nan", "1e9"):
            told = {"x-request-timeout": nonsense}
            assert (await client.get("/fine", headers=told)).status_code == 200
            async with asyncio.timeout(2):
                assert (await client.get("/hang", headers=told)).status_code == 504


def context_of(deadlines: Deadlines, *, own: bytes | None = None) -> RequestContext:
    """The context of a request served by the running task, watched from now on."""
    loop = asyncio.get_running_loop()
    context = RequestContext(
        {},
        {},
        settings=settings(),
        task=asyncio.current_task(),
        deadline=deadlines.of(loop.time(), own),
    )
    deadlines.enter(context, own_limit=own is not None)
    return context


async def test_a_request_is_cancelled_at_its_deadline_and_not_before() -> None:
    deadlines = Deadlines(0.2)
    began = asyncio.get_running_loop().time()
    context = context_of(deadlines)
    with pytest.raises(asyncio.CancelledError):
        await asyncio.sleep(5)
    passed = asyncio.get_running_loop().time() - began
    assert context.timed_out
    assert passed >= 0.2
    task = asyncio.current_task()
    assert task is not None
    task.uncancel()


async def test_one_timer_watches_any_number_of_requests_and_ends_with_the_last() -> None:
    deadlines = Deadlines(0.1)

    async def served(seconds: float) -> bool:
        context = context_of(deadlines)
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            return context.timed_out
        finally:
            deadlines.leave(context)
        return context.timed_out

    outcomes = await asyncio.gather(*(served(seconds) for seconds in (0.01, 5, 0.01, 5)))
    assert outcomes == [False, True, False, True]
    await asyncio.sleep(0.05)
    assert deadlines._timer is None


async def test_a_response_that_starts_has_no_deadline_any_more() -> None:
    deadlines = Deadlines(0.05)
    context = context_of(deadlines)
    deadlines.end(context)
    await asyncio.sleep(0.2)
    assert (context.timed_out, context.deadline) == (False, math.inf)


async def test_a_shorter_limit_of_a_route_counts_also_where_the_default_is_long() -> None:
    deadlines = Deadlines(3600)
    context = context_of(deadlines)
    deadlines.change(context, RouteTimeout(0.05), None)
    async with asyncio.timeout(2):
        with pytest.raises(asyncio.CancelledError):
            await asyncio.sleep(10)
        task = asyncio.current_task()
        assert task is not None
        task.uncancel()
    assert context.timed_out


async def test_where_there_is_no_task_a_request_has_a_cancel_scope() -> None:
    """So it is on another event loop than asyncio's."""
    deadlines = Deadlines(3600)
    now = anyio.current_time()
    context = RequestContext({}, {}, settings=settings(), deadline=deadlines.of(now, None))
    deadlines.enter(context)
    assert context.cancel_scope is not None
    deadlines.change(context, RouteTimeout(0.05), None)
    with context.cancel_scope:
        await anyio.sleep(5)
    assert context.cancel_scope.cancelled_caught
