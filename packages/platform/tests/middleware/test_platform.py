"""The order of what happens to every request, whatever the application inside does."""

from collections.abc import Callable

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route

from service_platform import logging
from service_platform.app import ServiceApp
from service_platform.context import SCOPE_KEY, RequestContext, current_context
from service_platform.errors import NotFound

Calling = Callable[..., httpx2.AsyncClient]
MakeService = Callable[..., ServiceApp]


async def fail(_: Request) -> Response:
    raise RuntimeError("postgresql://root:hunter2@db")


async def missing(_: Request) -> Response:
    raise NotFound("No such thing.")


async def told(request: Request) -> Response:
    context: RequestContext = request.scope[SCOPE_KEY]
    assert context is current_context()
    return PlainTextResponse(f"{context.request_id} {context.path} {context.client_address}")


ROUTES = [Route("/fail", fail), Route("/missing", missing), Route("/told", told)]


async def test_an_unhandled_error_hides_its_text(
    make_service: MakeService, calling: Calling
) -> None:
    response = await calling(make_service(ROUTES)).get("/fail")
    problem = response.json()
    assert response.headers["content-type"] == "application/problem+json"
    assert problem["error"] == "internal_error"
    assert problem["request_id"] == response.headers["x-request-id"]
    assert "hunter2" not in response.text


async def test_an_unhandled_error_is_logged_with_its_traceback(
    make_service: MakeService, calling: Calling, capsys: pytest.CaptureFixture[str]
) -> None:
    await calling(make_service(ROUTES, log_format="json")).get("/fail")
    logging.writer.close()
    (line,) = [each for each in capsys.readouterr().out.splitlines() if "unhandled_error" in each]
    assert "RuntimeError" in line
    assert '"route":"/fail"' in line
    assert "hunter2" not in line


async def test_a_problem_is_answered_by_its_handler(
    make_service: MakeService, calling: Calling
) -> None:
    app = make_service(ROUTES, problem_type_base_url="https://p.example/problems")
    problem = (await calling(app).get("/missing")).json()
    assert problem["type"] == "https://p.example/problems/not-found"
    assert problem["detail"] == problem["message"] == "No such thing."


async def test_the_context_of_a_request_is_there_during_it_and_not_after(
    make_service: MakeService, calling: Calling
) -> None:
    response = await calling(make_service(ROUTES)).get("/told", headers={"x-request-id": "mine"})
    assert response.text == "mine /told 127.0.0.1"
    assert current_context() is None


async def test_a_service_mounted_in_another_one_has_the_context_of_the_outer_one(
    make_service: MakeService, calling: Calling
) -> None:
    outer = make_service([Mount("/inner", app=make_service(ROUTES))])
    response = await calling(outer).get("/inner/told", headers={"x-request-id": "mine"})
    assert response.text == "mine /inner/told 127.0.0.1"
    assert response.headers.get_list("x-request-id") == ["mine"]
    assert len(response.headers.get_list("x-response-time")) == 1


async def test_around_an_application_without_the_platform_it_adds_everything_too(
    make_service: MakeService, calling: Calling
) -> None:
    app = make_service([Mount("/plain", app=Starlette(routes=ROUTES))])
    response = await calling(app).get("/plain/nowhere")
    assert response.status_code == 404
    assert response.headers["x-frame-options"] == "DENY"
    assert response.headers["x-request-id"]
