"""What a route declares by decorators and dependencies."""

from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI
from fastapi.routing import iter_route_contexts
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from service_platform.identity import CurrentPrincipal
from service_platform.middleware import timeout
from service_platform.middleware.route_info import RouteInfo, read_route_info
from service_platform.ratelimit import Policy, limit

SERVICE = Policy.parse("600/minute", name="service", by="address")


async def compiled(_: Request) -> Response:
    return PlainTextResponse("compiled")


def info_of(app: FastAPI, *, compiling: bool = False) -> RouteInfo:
    (route,) = [each for each in iter_route_contexts(app.routes) if each.path == "/it"]
    return read_route_info(route, (SERVICE,), (lambda _: compiled) if compiling else None)


@pytest.fixture
def app() -> FastAPI:
    return FastAPI()


def test_a_route_that_declares_nothing_has_the_limits_of_the_service(app: FastAPI) -> None:
    @app.get("/it")
    async def it() -> None: ...

    info = info_of(app)
    assert (info.policies, info.message_policies) == ((SERVICE,), ())
    assert (info.timeout, info.requires_principal, info.compiled) == (None, False, None)


def test_own_limits_follow_those_of_the_service(app: FastAPI) -> None:
    @app.get("/it")
    @limit("2/minute")
    @timeout(3)
    async def it() -> None: ...

    info = info_of(app)
    assert [policy.rate.quota for policy in info.policies] == [600, 2]
    assert info.timeout is not None
    assert info.timeout.seconds == 3


def test_limits_of_messages_are_kept_apart(app: FastAPI) -> None:
    @app.websocket("/it")
    @limit("2/minute")
    @limit("20/second", per="message")
    async def it(websocket: Any) -> None: ...

    info = info_of(app)
    assert [policy.rate.quota for policy in info.policies] == [600, 2]
    assert [policy.rate.quota for policy in info.message_policies] == [20]


def test_a_route_needs_a_token_where_any_of_its_dependencies_does(app: FastAPI) -> None:
    async def name(principal: CurrentPrincipal) -> str:
        return str(principal.subject)

    @app.get("/it")
    async def it(name: Annotated[str, Depends(name)]) -> str:
        return name

    assert info_of(app).requires_principal


def test_only_routes_of_fastapi_are_compiled(app: FastAPI) -> None:
    app.add_route("/it", compiled)
    assert info_of(app, compiling=True).compiled is None
    other = FastAPI()
    other.get("/it")(compiled)
    assert info_of(other, compiling=True).compiled is compiled
