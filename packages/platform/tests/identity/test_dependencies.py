"""Dependencies that require a valid token, a scope or a role."""

import httpx2
import pytest

from service_testing.tokens import TestTokens

MINE, OPEN, THINGS = "/api/v1/things/mine", "/api/v1/things/open", "/api/v1/things"


async def test_a_scope_is_required(guarded: httpx2.AsyncClient, tokens: TestTokens) -> None:
    allowed = await guarded.post(THINGS, headers=tokens.headers(scopes=["users:write"]))
    assert allowed.status_code == 200
    refused = await guarded.post(THINGS, headers=tokens.headers(scopes=["users:read"]))
    assert refused.status_code == 403
    assert refused.headers["www-authenticate"] == (
        'Bearer error="insufficient_scope", scope="users:write"'
    )
    assert refused.json()["message"] == "The access token lacks the scope users:write."
    assert (await guarded.post(THINGS)).status_code == 401


async def test_a_role_is_required(guarded: httpx2.AsyncClient, tokens: TestTokens) -> None:
    assert (await guarded.delete(THINGS, headers=tokens.headers(roles=["admin"]))).is_success
    refused = await guarded.delete(THINGS, headers=tokens.headers(roles=["user"]))
    assert refused.status_code == 403
    assert refused.json()["message"] == "This needs the role admin."
    assert (await guarded.delete(THINGS)).status_code == 401


async def test_a_scope_is_not_a_role(guarded: httpx2.AsyncClient, tokens: TestTokens) -> None:
    refused = await guarded.delete(THINGS, headers=tokens.headers(scopes=["admin"]))
    assert refused.status_code == 403


async def test_a_public_route_knows_its_caller_and_ignores_a_bad_token(
    guarded: httpx2.AsyncClient, tokens: TestTokens
) -> None:
    known = await guarded.get(OPEN, headers=tokens.headers())
    assert known.json()["subject"] is not None
    for headers in ({}, {"authorization": "Bearer nonsense"}, tokens.headers(expires_in=-5)):
        answer = await guarded.get(OPEN, headers=headers)
        assert (answer.status_code, answer.json()) == (200, {"subject": None})


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_the_scheme_is_read_in_any_case(
    guarded: httpx2.AsyncClient, tokens: TestTokens, scheme: str
) -> None:
    headers = {"authorization": f"{scheme} {tokens.issue()}"}
    assert (await guarded.get(MINE, headers=headers)).status_code == 200
