import json

import pytest
from local_system import System

from devtools import routes
from devtools.route_list import who
from devtools.services import SERVICES, Service


def test_every_route_of_every_service_is_listed_with_who_may_call(system: System) -> None:
    done = system.dev("routes", "--json")
    assert done.returncode == 0, done.stdout
    found = {
        (service, row["method"], row["path"]): row
        for service, each in json.loads(done.stdout).items()
        for row in each["routes"]
    }
    assert found["users", "PATCH", "/api/v1/users/me"]["who"] == "scope users:write"
    assert found["auth", "GET", "/api/v1/auth/accounts"]["who"] == "role admin"
    assert found["auth", "GET", "/.well-known/jwks.json"]["who"] == "anybody"
    assert "by address" in found["auth", "POST", "/api/v1/auth/register"]["limit"][0]
    for service in SERVICES:
        assert found[service.name, "GET", "/health/ready"]["limit"] == []


def test_the_table_names_what_all_services_share_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def described(service: Service) -> dict[str, object]:
        own = {"method": "GET", "path": f"/api/v1/{service.name}", "who": "anybody"}
        shared = {"method": "GET", "path": "/health", "who": "anybody"}
        rows = [{**own, "limit": [], "platform": False}, {**shared, "limit": [], "platform": True}]
        return {"limit": ["600/minute by account"], "routes": rows}

    monkeypatch.setattr(routes, "_describe", described)
    routes.routes(["users", "auth"], as_json=False)
    said = capsys.readouterr().out
    assert said.count("/health") == 1
    assert [said.count(f"/api/v1/{name}") for name in ("users", "auth")] == [1, 1]
    assert said.count("600/minute by account on every route") == 2
    routes.routes(["users"], as_json=False)
    said = capsys.readouterr().out
    assert [said.count(f"/api/v1/{name}") for name in ("users", "auth")] == [1, 0]


def test_who_may_call_in_words() -> None:
    assert who([]) == "anybody"
    assert who([{"OAuth2": []}, {"Bearer": []}]) == "any valid token"
    assert who([{"OAuth2": ["a", "b"]}, {"Bearer": ["admin"]}]) == "scope a, scope b, role admin"
