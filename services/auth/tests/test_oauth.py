"""The OAuth endpoints as a client library meets them."""

import base64
from typing import Any
from urllib.parse import quote

import pytest
from authlib.integrations.httpx_client import (  # type: ignore[import-untyped]
    AsyncOAuth2Client,
)
from authlib.oauth2.rfc8414 import (  # type: ignore[import-untyped]
    AuthorizationServerMetadata,
)
from fastapi import FastAPI
from httpx2 import ASGITransport, AsyncClient
from joserfc import jwt
from joserfc.jwk import KeySet
from services.auth.tests.conftest import (
    AUTH,
    PASSWORD,
    TOKEN,
    NewClient,
    Person,
    eventually,
    log_in,
)

REVOKE, INTROSPECT = f"{AUTH}/revoke", f"{AUTH}/introspect"
METADATA = "/.well-known/oauth-authorization-server"


def basic(client_id: str, secret: str) -> dict[str, str]:
    pair = f"{quote(client_id, safe='')}:{quote(secret, safe='')}"
    return {"authorization": "Basic " + base64.b64encode(pair.encode()).decode()}


async def client_token(client: AsyncClient, client_id: str, secret: str) -> dict[str, Any]:
    form = {"grant_type": "client_credentials"}
    answer = await client.post(TOKEN, data=form, headers=basic(client_id, secret))
    assert answer.status_code == 200, answer.text
    content: dict[str, Any] = answer.json()
    return content


async def test_metadata_describes_the_running_configuration(
    client: AsyncClient, service_environment: dict[str, str]
) -> None:
    issuer = service_environment["JWT_ISSUER"]
    metadata = (await client.get(METADATA)).json()
    assert metadata["issuer"] == issuer
    assert metadata["token_endpoint"] == f"{issuer}{TOKEN}"
    assert metadata["jwks_uri"] == f"{issuer}/.well-known/jwks.json"
    assert metadata["grant_types_supported"] == ["password", "refresh_token", "client_credentials"]
    assert metadata["response_types_supported"] == ["none"]
    assert "users:write" in metadata["scopes_supported"]


async def test_the_published_keys_verify_a_token_and_hold_nothing_private(
    app: FastAPI, client: AsyncClient, person: Person
) -> None:
    answer = await client.get("/.well-known/jwks.json")
    assert answer.headers["cache-control"] == "public, max-age=300"
    for key in answer.json()["keys"]:
        assert set(key) == {"kty", "crv", "x", "y", "kid", "use", "alg"}
    keys = KeySet.import_key_set(answer.json())
    token = jwt.decode(person.tokens["access_token"], keys, algorithms=["ES256"])
    assert token.header["typ"] == "at+jwt"
    assert set(token.claims) == {
        "iss", "sub", "aud", "exp", "iat", "jti", "client_id", "scope", "roles", "sid", "email",
        "name",
    }  # fmt: skip
    assert token.claims["aud"] == app.state.settings.token_audiences
    assert {"auth", "users"} <= set(token.claims["aud"])
    assert token.claims["sub"] == person.id


async def test_a_client_gets_a_token_of_its_own(client: AsyncClient, new_client: NewClient) -> None:
    client_id, secret = await new_client("reports", scopes=("users:write", "users:read"))
    tokens = await client_token(client, client_id, secret)
    assert set(tokens) == {"access_token", "token_type", "expires_in", "scope"}
    assert tokens["scope"] == "users:read users:write"
    headers = {"authorization": f"Bearer {tokens['access_token']}"}
    assert (await client.get(f"{AUTH}/me", headers=headers)).status_code == 403


async def test_a_client_gets_no_more_scopes_than_it_has(
    client: AsyncClient, new_client: NewClient
) -> None:
    client_id, secret = await new_client("reports")
    form = {"grant_type": "client_credentials", "scope": "users:write"}
    answer = await client.post(TOKEN, data=form, headers=basic(client_id, secret))
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_scope")


@pytest.mark.parametrize("scopes", [(), ("account",)])
async def test_a_client_without_that_grant_is_told_so(
    client: AsyncClient, new_client: NewClient, person: Person, scopes: tuple[str, ...]
) -> None:
    client_id, secret = await new_client("reports", scopes=scopes)
    answer = await log_in(client, person.email, PASSWORD, client_id=client_id, client_secret=secret)
    assert (answer.status_code, answer.json()["error"]) == (400, "unauthorized_client")


async def test_a_client_that_proves_nothing_is_refused(
    client: AsyncClient, new_client: NewClient
) -> None:
    client_id, secret = await new_client("reports")
    await new_client("app", grant_types=("password",), public=True)
    form = {"grant_type": "client_credentials"}
    for headers, more in [
        (basic(client_id, "wrong"), {}),
        (basic(client_id, ""), {}),
        (basic("nobody", secret), {}),
        (basic("first-party", secret), {}),
        (basic("app", secret), {}),
        (basic("nul\x00", secret), {}),
        ({"authorization": "Basic !!!"}, {}),
        ({"authorization": "Basic /w=="}, {}),
        ({}, {"client_id": client_id}),
        ({}, {"client_id": client_id, "client_secret": "wrong"}),
        ({}, {"client_id": "app"}),
    ]:
        answer = await client.post(TOKEN, data=form | more, headers=headers)
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client"), more
        assert answer.headers["www-authenticate"].startswith("Basic ")
        assert answer.headers["cache-control"] == "no-store"


async def test_a_client_may_not_use_two_ways_at_once(
    client: AsyncClient, new_client: NewClient
) -> None:
    client_id, secret = await new_client("reports")
    for more in ({"client_secret": secret}, {"client_id": "another"}):
        form = {"grant_type": "client_credentials", **more}
        answer = await client.post(TOKEN, data=form, headers=basic(client_id, secret))
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


@pytest.mark.parametrize("path", [TOKEN, REVOKE, INTROSPECT])
async def test_several_authorization_headers_are_refused(
    client: AsyncClient, new_client: NewClient, path: str
) -> None:
    """RFC 6749, section 2.3: one method of authentication in a request."""
    client_id, secret = await new_client("reports")
    right = basic(client_id, secret)["authorization"]
    wrong = basic(client_id, "wrong")["authorization"]
    form = {"grant_type": "client_credentials", "token": "x"}
    for pair in ((right, right), (right, wrong), (wrong, right), ("Bearer x", right)):
        headers = [("authorization", value) for value in pair]
        answer = await client.post(path, data=form, headers=headers)
        assert (answer.status_code, answer.json()["error"]) == (400, "bad_request"), pair


async def test_another_scheme_is_no_authentication_of_a_client(client: AsyncClient) -> None:
    form = {"grant_type": "client_credentials"}
    answer = await client.post(TOKEN, data=form, headers={"authorization": "Digest x"})
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


async def test_a_client_without_scopes_gets_none(
    client: AsyncClient, new_client: NewClient, person: Person
) -> None:
    client_id, secret = await new_client(
        "reports", grant_types=("password", "refresh_token", "client_credentials"), scopes=()
    )
    credentials = {"client_id": client_id, "client_secret": secret}
    tokens = (await log_in(client, person.email, PASSWORD, **credentials)).json()
    assert tokens["scope"] == ""
    headers = {"authorization": f"Bearer {tokens['access_token']}"}
    assert (await client.get(f"{AUTH}/me", headers=headers)).status_code == 403
    refused = await log_in(client, person.email, PASSWORD, scope="users:read", **credentials)
    assert refused.json()["error"] == "invalid_scope"
    renewed = await person.refresh(tokens["refresh_token"], **credentials)
    assert renewed.json()["scope"] == ""
    own = await client.post(TOKEN, data={"grant_type": "client_credentials", **credentials})
    assert own.json()["scope"] == ""


async def test_a_validator_accepts_the_metadata(make_client: Any) -> None:
    """RFC 8414, section 2; it wants the issuer that a deployment has."""
    async with make_client(JWT_ISSUER="https://auth.example.com") as client:
        metadata = AuthorizationServerMetadata((await client.get(METADATA)).json())
    metadata.validate()
    # Section 3.2: claims with zero elements must be omitted.
    assert all(value or value is False for value in metadata.values())


async def test_empty_credentials_of_the_docs_page_mean_the_first_party_client(
    client: AsyncClient, person: Person
) -> None:
    form = {"grant_type": "password", "username": person.email, "password": PASSWORD, "scope": ""}
    answer = await client.post(TOKEN, data=form, headers={"authorization": "Basic Og=="})
    assert answer.status_code == 200


async def test_revoking_a_refresh_token_ends_the_session(
    client: AsyncClient, person: Person
) -> None:
    answer = await client.post(REVOKE, data={"token": person.refresh_token})
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    assert (await person.me()).status_code == 401
    assert (await person.refresh()).json()["error"] == "invalid_grant"
    assert (await client.post(REVOKE, data={"token": person.refresh_token})).status_code == 200


async def test_revoking_an_access_token_ends_its_session(
    client: AsyncClient, person: Person
) -> None:
    form = {"token": person.tokens["access_token"], "token_type_hint": "refresh_token"}
    assert (await client.post(REVOKE, data=form)).status_code == 200
    assert (await person.me()).status_code == 401
    assert (await person.refresh()).json()["error"] == "invalid_grant"


async def test_a_client_can_revoke_its_own_token(
    client: AsyncClient, new_client: NewClient
) -> None:
    client_id, secret = await new_client("reports")
    token = (await client_token(client, client_id, secret))["access_token"]
    headers = basic(client_id, secret)

    async def active() -> bool:
        answer = await client.post(INTROSPECT, data={"token": token}, headers=headers)
        return bool(answer.json()["active"])

    assert await active()
    assert (await client.post(REVOKE, data={"token": token}, headers=headers)).status_code == 200

    async def inactive() -> bool:
        return not await active()

    await eventually(inactive, seconds=1.0)


async def test_what_is_no_token_can_be_revoked_without_an_error(client: AsyncClient) -> None:
    for token in ("nonsense", "rt_" + "A" * 70, "a.b.c", "é"):
        assert (await client.post(REVOKE, data={"token": token})).status_code == 200
    assert (await client.post(REVOKE, data={})).json()["error"] == "invalid_request"


async def test_another_client_cannot_revoke_the_token(
    client: AsyncClient, person: Person, new_client: NewClient
) -> None:
    client_id, secret = await new_client("reports")
    for token in (person.refresh_token, person.tokens["access_token"]):
        answer = await client.post(REVOKE, data={"token": token}, headers=basic(client_id, secret))
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
    assert (await person.me()).status_code == 200


async def test_introspection_tells_confidential_clients_what_a_token_is_worth(
    client: AsyncClient, person: Person, new_client: NewClient
) -> None:
    client_id, secret = await new_client("gateway")
    headers = basic(client_id, secret)

    async def worth(token: str) -> dict[str, Any]:
        answer = await client.post(INTROSPECT, data={"token": token}, headers=headers)
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "no-store"
        content: dict[str, Any] = answer.json()
        return content

    access = await worth(person.tokens["access_token"])
    assert access["active"] is True
    assert (access["sub"], access["username"]) == (person.id, person.email)
    assert (access["client_id"], access["token_type"]) == ("first-party", "Bearer")
    assert access["exp"] - access["iat"] == 600
    refresh = await worth(person.refresh_token)
    assert (refresh["active"], refresh["sub"]) == (True, person.id)
    used_up = person.refresh_token
    person.tokens = (await person.refresh()).json()
    assert await worth(used_up) == {"active": False}
    await client.post(REVOKE, data={"token": person.refresh_token})
    dead = [person.refresh_token, person.tokens["access_token"]]
    for token in [*dead, "nonsense", "rt_" + "A" * 70]:
        assert await worth(token) == {"active": False}


async def test_introspection_is_refused_to_everybody_else(
    client: AsyncClient, person: Person, new_client: NewClient
) -> None:
    await new_client("app", grant_types=("password",), public=True)
    form = {"token": person.tokens["access_token"]}
    for more in ({}, {"client_id": "app"}):
        answer = await client.post(INTROSPECT, data=form | more)
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    with_token = await client.post(INTROSPECT, data=form, headers=person.headers)
    assert with_token.status_code == 401


async def test_a_well_known_library_needs_the_metadata_only(
    app: FastAPI, person: Person, new_client: NewClient, service_environment: dict[str, str]
) -> None:
    client_id, secret = await new_client(
        "library",
        grant_types=("password", "refresh_token", "client_credentials"),
        scopes=("account", "users:read"),
    )
    transport = ASGITransport(app)
    async with AsyncClient(transport=transport) as plain:
        issuer = service_environment["JWT_ISSUER"]
        metadata = (await plain.get(f"{issuer}{METADATA}")).json()
    for method in metadata["token_endpoint_auth_methods_supported"][:2]:
        async with AsyncOAuth2Client(
            client_id,
            secret,
            token_endpoint_auth_method=method,
            revocation_endpoint_auth_method=method,
            transport=transport,
        ) as library:
            token = await library.fetch_token(
                metadata["token_endpoint"], username=person.email, password=PASSWORD
            )
            me = await library.get(f"{issuer}{AUTH}/me")
            assert me.json()["id"] == person.id
            renewed = await library.refresh_token(metadata["token_endpoint"])
            assert renewed["refresh_token"] != token["refresh_token"]
            told = await library.introspect_token(
                metadata["introspection_endpoint"], token=renewed["access_token"]
            )
            assert told.json()["active"] is True
            await library.revoke_token(
                metadata["revocation_endpoint"], token=renewed["refresh_token"]
            )
            told = await library.introspect_token(
                metadata["introspection_endpoint"], token=renewed["access_token"]
            )
            assert told.json() == {"active": False}
            own = await library.fetch_token(
                metadata["token_endpoint"], grant_type="client_credentials"
            )
            assert own["scope"] == "account users:read"
            assert "refresh_token" not in own


async def test_the_docs_can_log_in(app: FastAPI, service_environment: dict[str, str]) -> None:
    document = app.openapi()
    flow = document["components"]["securitySchemes"]["OAuth2"]["flows"]["password"]
    assert flow["tokenUrl"] == service_environment["JWT_ISSUER"] + TOKEN
    form = document["paths"][TOKEN]["post"]["requestBody"]["content"]
    assert set(form) == {"application/x-www-form-urlencoded"}
    security = document["paths"][f"{AUTH}/accounts"]["get"]["security"]
    assert {"Bearer": ["admin"]} in security
