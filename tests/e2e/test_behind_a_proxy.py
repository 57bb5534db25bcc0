"""What services make of what their proxy tells them, and the limits of single routes."""

import uuid

import pytest
from httpx2 import AsyncClient
from tests.e2e.conftest import SERVICES, System

QUOTA_EXCEEDED = "https://iana.org/assignments/http-problem-types#quota-exceeded"
MOST_REGISTRATIONS = 60
"""A minute from one address, by `@limit` on the route."""


@pytest.fixture(autouse=True)
def behind_our_proxy(system: System) -> None:
    if not system.processes:
        pytest.skip("Only services started here believe that this test is their proxy.")


@pytest.mark.parametrize("service", SERVICES)
async def test_browsers_are_told_to_stay_with_tls_where_there_is_tls(
    http: AsyncClient, system: System, service: str
) -> None:
    url = f"{system.urls[service]}/health/live"
    encrypted = await http.get(url, headers={"x-forwarded-proto": "https"})
    assert encrypted.headers["strict-transport-security"].startswith("max-age=")
    assert "strict-transport-security" not in (await http.get(url)).headers


async def test_a_route_has_a_limit_of_its_own_for_each_address(
    http: AsyncClient, system: System
) -> None:
    url = f"{system.urls['auth']}/api/v1/auth/register"
    flooding = {"x-forwarded-for": f"2001:db8:{uuid.uuid4().hex[:4]}::1"}
    answers = [await http.post(url, json={}, headers=flooding) for _ in range(70)]
    statuses = [answer.status_code for answer in answers]
    # A window may begin to free places while this runs, so only the first are certain.
    assert statuses[:MOST_REGISTRATIONS] == [422] * MOST_REGISTRATIONS
    assert statuses[MOST_REGISTRATIONS] == 429
    refused = answers[MOST_REGISTRATIONS]
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["type"] == QUOTA_EXCEEDED
    assert refused.json()["request_id"] == refused.headers["x-request-id"]
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert refused.headers["x-ratelimit-limit"] == str(MOST_REGISTRATIONS)
    assert refused.headers["x-ratelimit-remaining"] == "0"
    assert ";r=0;" in refused.headers["ratelimit"]
    assert f";q={MOST_REGISTRATIONS};w=60" in refused.headers["ratelimit-policy"]

    elsewhere = {"x-forwarded-for": f"2001:db8:{uuid.uuid4().hex[:4]}:1::1"}
    assert (await http.post(url, json={}, headers=elsewhere)).status_code == 422
    other_route = f"{system.urls['auth']}/.well-known/jwks.json"
    assert (await http.get(other_route, headers=flooding)).status_code == 200
