"""The front page and what it shows, without the gateway before it."""

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from httpx2 import ASGITransport, AsyncClient

from devtools import status
from devtools.gateway.api_documents import with_logins_at
from devtools.gateway.front_page import MEDIA_TYPES, app
from devtools.gateway.places import access_log_path
from devtools.services import SERVICES
from devtools.state import ServiceState, State
from service_testing.ports import free_port

HERE = "http://localhost:8000"
TOKENS = "/api/v1/auth/token"


def document(login: str) -> dict[str, Any]:
    flow = {"tokenUrl": login, "refreshUrl": login, "scopes": {}}
    schemes = {
        "Password": {"type": "oauth2", "flows": {"password": flow}},
        "Other": {"type": "http"},
    }
    return {"openapi": "3.1.0", "paths": {}, "components": {"securitySchemes": schemes}}


class Service(BaseHTTPRequestHandler):
    """A service that has a document and is degraded."""

    def do_GET(self) -> None:
        assert isinstance(self.server, ThreadingHTTPServer)
        port = self.server.server_port
        known = {
            "/api/v1/openapi.json": document(f"http://localhost:{port}{TOKENS}"),
            "/health": {
                "status": "degraded",
                "checks": {"redis": {"status": "x", "reason": "<b>"}},
            },
        }
        found = known.get(self.path)
        self.send_response(200 if found else 404)
        self.end_headers()
        self.wfile.write(json.dumps(found).encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[State]:
    """Auth runs and users is away."""
    monkeypatch.setenv("DEV_STATE_DIR", str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), Service) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        made = State(
            pid=1,
            phase="ready",
            services={
                "auth": ServiceState(port=server.server_port, state="ready"),
                "users": ServiceState(port=free_port(), state="restarting", detail="it ended"),
            },
            gateway=ServiceState(port=8000),
            page=ServiceState(port=1),
        )
        made.save()
        yield made
        server.shutdown()


@pytest.fixture
async def page(state: State) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(transport=ASGITransport(app()), base_url=HERE) as client:
        yield client


async def shown(page: AsyncClient) -> dict[str, Any]:
    answer = await page.get("/dev/overview.json")
    found: dict[str, Any] = answer.json()
    return found


async def test_services_are_shown_with_their_health(page: AsyncClient, state: State) -> None:
    services = {each["name"]: each for each in (await shown(page))["services"]}
    assert services.keys() == {each.name for each in SERVICES}
    assert services["auth"]["health"] == "degraded"
    assert services["auth"]["detail"] == "redis: <b>"
    assert services["auth"]["docs"] == "/docs/auth"
    assert services["auth"]["url"] == f"http://localhost:{state.services['auth'].port}"
    assert services["auth"]["paths"][0] == "/api/v1/auth/*"
    assert (services["users"]["health"], services["users"]["detail"]) == ("no answer", "it ended")


async def test_a_service_that_was_left_out_has_no_documentation(
    page: AsyncClient, state: State
) -> None:
    del state.services["users"]
    state.save()
    services = {each["name"]: each for each in (await shown(page))["services"]}
    assert services["users"]["health"] == "not started"
    assert "docs" not in services["users"]
    assert (await page.get("/docs/users/api/v1/openapi.json")).status_code == 503


async def test_many_pages_ask_a_service_once(
    page: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def health(port: int) -> tuple[str, str]:
        asked.append(port)
        return "healthy", ""

    monkeypatch.setattr(status, "health", health)
    await asyncio.gather(*(shown(page) for _ in range(5)))
    assert len(asked) == 2


async def test_what_a_request_says_is_data(page: AsyncClient) -> None:
    request = {"method": "<i>", "uri": "/<script>"}
    line = {"ts": 1, "duration": 0, "status": 404, "request": request, "uuid": "u"}
    access_log_path().parent.mkdir()
    access_log_path().write_text(json.dumps(line) + "\n")
    answer = await page.get("/dev/overview.json")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["requests"][0]["path"] == "/<script>"


async def test_secrets_of_the_system_are_not_shown(page: AsyncClient, state: State) -> None:
    state.postgres_url = "postgresql://postgres:secret@127.0.0.1:1/postgres"
    state.redis_url = "redis://:secret@127.0.0.1:1/0"
    state.save()
    answer = await page.get("/dev/overview.json")
    assert answer.status_code == 200
    assert "secret" not in answer.text
    assert answer.json()["logins"] == []


async def test_after_the_end_it_says_so(page: AsyncClient, state: State, tmp_path: Path) -> None:
    (tmp_path / "run" / "state.json").unlink()
    assert (await shown(page))["phase"] == "stopping"


@pytest.mark.parametrize("path", ["/", *(f"/dev/{name}" for name in MEDIA_TYPES)])
async def test_a_file_is_served_under_a_strict_policy(page: AsyncClient, path: str) -> None:
    answer = await page.get(path)
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "//" not in answer.text.replace("http://www.w3.org/2000/svg", "").replace("// ", "")


@pytest.mark.parametrize("path", ["/dev/page.html", "/dev/front_page.py", "/dev/..%2fplaces.py"])
async def test_nothing_else_is_served(page: AsyncClient, path: str) -> None:
    assert (await page.get(path)).status_code == 404


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "", "[::2]:8000"])
@pytest.mark.parametrize("path", ["/", "/dev/overview.json"])
async def test_another_host_is_not_answered(page: AsyncClient, path: str, host: str) -> None:
    assert (await page.get(path, headers={"host": host})).status_code == 421


@pytest.mark.parametrize("host", ["LOCALHOST:8000", "127.0.0.1", "[::1]:8000", "[::1]"])
async def test_names_of_this_machine_are_answered(page: AsyncClient, host: str) -> None:
    assert (await page.get("/", headers={"host": host})).status_code == 200


async def test_a_document_lets_people_log_in_at_the_gateway(page: AsyncClient) -> None:
    answer = await page.get("/docs/auth/api/v1/openapi.json")
    assert answer.json() == document(f"{HERE}{TOKENS}")


@pytest.mark.parametrize(
    ("path", "status_code"),
    [
        ("/docs/auth/openapi.json", 404),
        ("/docs/users/api/v1/openapi.json", 503),
        ("/docs/nobody/api/v1/openapi.json", 503),
    ],
)
async def test_a_document_that_is_not_there(page: AsyncClient, path: str, status_code: int) -> None:
    assert (await page.get(path)).status_code == status_code


@pytest.mark.parametrize(
    ("login", "told"),
    [
        (f"http://127.0.0.1:8003{TOKENS}", f"{HERE}{TOKENS}"),
        (f"http://localhost:8003{TOKENS}", f"{HERE}{TOKENS}"),
        (f"http://localhost:9000{TOKENS}", f"http://localhost:9000{TOKENS}"),
        (f"https://login.example.com:8003{TOKENS}", f"https://login.example.com:8003{TOKENS}"),
        ("token", "token"),
    ],
)
def test_only_logins_at_auth_here_go_to_the_gateway(login: str, told: str) -> None:
    assert with_logins_at(HERE, document(login), 8003) == document(told)


def test_without_schemes_a_document_stays() -> None:
    assert with_logins_at(HERE, {"paths": {}}, 8003) == {"paths": {}}


async def test_a_database_that_is_away_is_no_error(page: AsyncClient, state: State) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        state.postgres_url = f"postgresql://postgres@127.0.0.1:{nobody.getsockname()[1]}/postgres"
        state.save()
        assert (await shown(page))["logins"] == []
