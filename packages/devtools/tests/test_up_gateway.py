"""`./dev up --https` with one service: the gateway before it, from the first line to the end."""

import json
import os
import signal
import socket
import ssl
import time
from collections.abc import Iterator
from typing import Any

import pytest
from httpx2 import Client
from local_system import System

from devtools import seed
from service_testing.services import CHEAP_HASHES

TOKENS = "/api/v1/auth/token"
ADMIN = f"{seed.ADMIN[0]}@{seed.DOMAIN}"


@pytest.fixture(scope="module")
def up(system: System) -> Iterator[str]:
    """What it said: with auth alone, and the usual port of HTTPS taken."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 8443 + system.offset))
        taken.listen()
        done = system.up("--only=auth", "--no-reload", "--https", **CHEAP_HASHES)
    assert done.returncode == 0, done.said
    yield done.stdout
    system.dev("down")


@pytest.fixture
def http(system: System, up: str) -> Iterator[Client]:
    with Client(base_url=address(system), trust_env=False) as client:
        yield client


def address(system: System) -> str:
    return f"http://localhost:{8000 + system.offset}"


def kept(system: System) -> Any:
    return json.loads((system.state_dir / "run" / "state.json").read_text())


def overview(http: Client) -> dict[str, Any]:
    shown: dict[str, Any] = http.get("/dev/overview.json").json()
    return shown


def eventually(http: Client, name: str, wanted: object) -> dict[str, Any]:
    """The overview as soon as one of its members is so."""
    deadline = time.monotonic() + 20
    while (shown := overview(http))[name] != wanted:
        assert time.monotonic() < deadline, shown
        time.sleep(0.1)
    return shown


def test_the_address_stands_first(system: System, up: str) -> None:
    for shown in (up, system.dev("status").stdout):
        first = shown.strip().splitlines()[0].split()
        assert first[:2] == [address(system), f"https://localhost:{kept(system)['https_port']}"]


def test_another_port_is_taken_where_the_usual_one_is_and_that_is_said(
    system: System, up: str
) -> None:
    usual, port = 8443 + system.offset, kept(system)["https_port"]
    assert port != usual
    assert f"Another program has port {usual}, so the gateway is on {port} this time" in up


def test_https_is_trusted_as_the_terminal_says(system: System, up: str) -> None:
    (line,) = [line for line in up.splitlines() if "curl --cacert" in line]
    certificate, url = line.split()[-2:]
    with Client(verify=ssl.create_default_context(cafile=certificate), trust_env=False) as client:
        assert client.get(f"{url}/.well-known/jwks.json").status_code == 200


def test_a_service_that_was_left_out_is_a_problem_that_says_so(http: Client) -> None:
    answer = http.get("/api/v1/users")
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"].endswith("or add --only users.")


@pytest.mark.parametrize("path", ["/health", "/metrics", "/version", "/api/v1/openapi.json"])
def test_what_production_keeps_inside_is_not_reached(http: Client, path: str) -> None:
    assert http.get(path).status_code == 404


def test_urls_are_those_of_the_gateway(system: System, http: Client) -> None:
    page = http.get("/docs/auth").text
    assert 'data-document="/docs/auth/api/v1/openapi.json"' in page
    flows = http.get("/docs/auth/api/v1/openapi.json").json()["components"]["securitySchemes"]
    (login,) = (each["flows"]["password"] for each in flows.values() if "flows" in each)
    assert login["tokenUrl"] == f"{address(system)}{TOKENS}"


def test_demo_logins_are_shown_as_soon_as_they_are_there(http: Client) -> None:
    assert overview(http)["logins"] == []
    account = {"email": ADMIN, "password": seed.PASSWORD, "full_name": "Demo Admin"}
    assert http.post("/api/v1/auth/register", json=account).status_code == 201
    ada = f"ada@{seed.DOMAIN}"
    shown = eventually(
        http,
        "logins",
        [
            {"who": "admin", "email": ADMIN, "password": seed.PASSWORD},
            {"who": "user", "email": ada, "password": seed.PASSWORD},
        ],
    )
    login = shown["logins"][0]
    form = {"grant_type": "password", "username": login["email"], "password": login["password"]}
    assert http.post(TOKENS, data=form).status_code == 200


def test_requests_are_shown_with_the_ids_that_services_gave(http: Client) -> None:
    answer = http.get("/api/v1/auth/me?token=secret")
    deadline = time.monotonic() + 10
    while not (requests := overview(http)["requests"]) or requests[0]["path"] != "/api/v1/auth/me":
        assert time.monotonic() < deadline, requests
        time.sleep(0.05)
    newest = requests[0]
    assert newest["request_id"] == answer.headers["x-request-id"]
    assert (newest["service"], newest["status"]) == ("auth", 401)


@pytest.mark.parametrize("name", ["gateway", "page"])
def test_what_is_killed_is_started_again(system: System, http: Client, name: str) -> None:
    before = kept(system)[name]["pid"]
    os.kill(before, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while (found := kept(system)[name])["state"] != "ready" or found["pid"] == before:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert overview(http)["phase"] == "ready"


def test_a_service_that_is_away_is_a_problem_and_logged(system: System, http: Client) -> None:
    os.killpg(kept(system)["services"]["auth"]["pid"], signal.SIGKILL)
    deadline = time.monotonic() + 20  # it is started again, which takes longer than a request
    while (answer := http.get("/.well-known/jwks.json")).status_code != 503:
        assert time.monotonic() < deadline, answer
    assert answer.json()["detail"].startswith("auth does not answer; ./dev status")
    assert "retry-after" in answer.headers
    logs = system.dev("logs").stdout.splitlines()
    refusals = [line for line in logs if "connection refused" in line]
    assert {line.split()[0] for line in refusals} == {"gateway"}


def test_the_end_of_everything_ends_it(system: System, up: str) -> None:
    assert system.dev("down").returncode == 0
    assert system.processes() == []
