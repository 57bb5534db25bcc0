"""The access event of requests, by OpenTelemetry's semantic conventions."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from service_platform import logging
from service_platform.app import ServiceApp
from service_platform.settings import PlatformSettings

Calling = Callable[..., httpx2.AsyncClient]
MakeService = Callable[..., ServiceApp]
Events = Callable[[], list[dict[str, Any]]]


async def item(_: Request) -> Response:
    return PlainTextResponse("item")


ROUTES = [Route("/items/{number}", item)]


@pytest.fixture
def events(capsys: pytest.CaptureFixture[str]) -> Iterator[Events]:
    """Returns the access events that were written so far."""

    def read() -> list[dict[str, Any]]:
        logging.writer.close()
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        return [line for line in lines if line["logger"] == "access"]

    yield read
    logging.configure_logging(PlatformSettings())


async def test_a_request_is_one_event_without_its_query(
    make_service: MakeService, calling: Calling, events: Events
) -> None:
    client = calling(make_service(ROUTES, log_format="json"))
    response = await client.get("/items/7?token=hunter2", headers={"x-request-id": "mine"})
    (event,) = events()
    assert (event["event"], event["level"], event["request_id"]) == ("request", "info", "mine")
    assert (event["http.route"], event["url.path"]) == ("/items/{number}", "/items/7")
    assert (event["http.request.method"], event["http.response.status_code"]) == ("GET", 200)
    assert event["client.address"] == "127.0.0.1"
    assert 0 < event["http.server.request.duration"] < 60
    assert response.status_code == 200
    assert "hunter2" not in json.dumps(event)
    assert "account" not in event


async def test_a_path_without_a_route_has_none(
    make_service: MakeService, calling: Calling, events: Events
) -> None:
    await calling(make_service(ROUTES, log_format="json")).get("/nowhere")
    (event,) = events()
    assert (event["http.route"], event["http.response.status_code"]) == (None, 404)


@pytest.mark.parametrize(
    ("level", "paths"),
    [("DEBUG", ["/health/live", "/items/7"]), ("INFO", ["/items/7"]), ("WARNING", [])],
)
async def test_probes_are_logged_at_debug_level_only(
    make_service: MakeService, calling: Calling, events: Events, level: str, paths: list[str]
) -> None:
    client = calling(make_service(ROUTES, log_format="json", log_level=level))
    await client.get("/health/live")
    await client.get("/items/7")
    assert [event["url.path"] for event in events()] == paths
