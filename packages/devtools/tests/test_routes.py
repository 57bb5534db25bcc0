import json

from local_system import System

from devtools.route_list import who
from devtools.services import SERVICES


def test_every_route_of_every_service_is_listed_with_who_may_call(system: System) -> None:
    done = system.dev("routes", "--json")
    assert done.returncode == 0, done.stdout
    found = {
        (service, row["method"], row["path"]): row
        for service, each in json.loads(done.stdout).items()
        for row in each["routes"]
    }
    assert found["items", "POST", "/api/v1/items"]["who"] == "scope items:write"
    assert found["auth", "GET", "/api/v1/auth/accounts"]["who"] == "role admin"
    assert found["auth", "GET", "/.well-known/jwks.json"]["who"] == "anybody"
    assert "by address" in found["auth", "POST", "/api/v1/auth/register"]["limit"][0]
    for service in SERVICES:
        assert found[service.name, "GET", "/health/ready"]["limit"] == []


def test_the_table_names_what_all_services_share_once(system: System) -> None:
    done = system.dev("routes")
    assert done.stdout.count("/health/ready") == 1
    assert done.stdout.count("/api/v1/items/{") >= 3


def test_who_may_call_in_words() -> None:
    assert who([]) == "anybody"
    assert who([{"OAuth2": []}, {"Bearer": []}]) == "any valid token"
    assert who([{"OAuth2": ["a", "b"]}, {"Bearer": ["admin"]}]) == "scope a, scope b, role admin"
