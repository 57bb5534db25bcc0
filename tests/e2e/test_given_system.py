"""Where the tests look for a system that was there before."""

import pytest
from tests.e2e.system import SERVICES, System, given_system

GATEWAY = {"E2E_BASE_URL": "https://api.example.com/"}
EACH = {f"E2E_{name.upper()}_URL": f"http://{name}.example.com" for name in SERVICES}
OWN_ADDRESSES = {name: f"http://{name}.example.com" for name in SERVICES}


def test_without_addresses_there_is_none() -> None:
    assert given_system({}) is None
    assert given_system({"E2E_BASE_URL": ""}) is None


def test_a_gateway_has_one_address_for_all() -> None:
    urls = dict.fromkeys(SERVICES, "https://api.example.com")
    assert given_system(GATEWAY) == System(urls, behind_gateway=True)


def test_a_service_may_have_an_address_of_its_own_beside_the_gateway() -> None:
    given = given_system({**GATEWAY, "E2E_USERS_URL": "http://users.example.com"})
    assert given is not None
    assert given.urls["users"] == "http://users.example.com"
    assert given.urls["auth"] == "https://api.example.com"
    assert given.behind_gateway


@pytest.mark.parametrize("environment", [EACH, {**GATEWAY, **EACH}])
def test_where_each_has_its_own_address_no_gateway_is_between(environment: dict[str, str]) -> None:
    assert given_system(environment) == System(OWN_ADDRESSES, behind_gateway=False)


def test_one_missing_address_is_told() -> None:
    environment = {name: url for name, url in EACH.items() if name != "E2E_USERS_URL"}
    with pytest.raises(LookupError, match="Set E2E_USERS_URL too"):
        given_system(environment)
