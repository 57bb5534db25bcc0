"""URLs must be UTF-8 once their percent-encoding is taken away."""

from collections.abc import Callable

import httpx2
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from service_platform.app import ServiceApp

Calling = Callable[..., httpx2.AsyncClient]
MakeService = Callable[..., ServiceApp]


async def query(request: Request) -> Response:
    return PlainTextResponse(repr(dict(request.query_params)))


ROUTES = [Route("/query", query)]


@pytest.mark.parametrize("target", ["/query?q=%ff", "/query?%c3%28", "/query/%80", "/%ff"])
async def test_a_url_that_is_not_utf8_is_refused(
    make_service: MakeService, calling: Calling, target: str
) -> None:
    answer = await calling(make_service(ROUTES)).get(target)
    assert (answer.status_code, answer.json()["error"]) == (400, "bad_request")
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize(
    ("query", "seen"),
    [
        ("q=%C3%A9", {"q": "é"}),
        ("q=%E2%98%83&r=%00", {"q": "☃", "r": "\0"}),
        ("q=100%", {"q": "100%"}),
        ("q=%zz", {"q": "%zz"}),
    ],
)
async def test_any_other_url_passes_as_it_is(
    make_service: MakeService, calling: Calling, query: str, seen: dict[str, str]
) -> None:
    answer = await calling(make_service(ROUTES)).get(f"/query?{query}")
    assert (answer.status_code, answer.text) == (200, repr(seen))
