"""The OAuth 2.0 endpoints: token, revocation, introspection, metadata and keys.

Their errors have the form of RFC 6749, section 5.2. A refusal is returned, not raised: what it
changed (a session that ends because its refresh token was copied) is committed.
"""

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from auth.clients import GRANT_TYPES
from auth.dependencies import TheCaller, TheGrants, identify_client, read_form
from auth.oauth_errors import OAuthError, json_response
from auth.schemas import (
    Introspection,
    OAuthErrorAnswer,
    PresentedTokenForm,
    TokenAnswer,
    TokenForm,
    form_of,
)
from auth.settings import AuthSettings
from auth.signing_keys import SigningKeys
from service_platform.database.session import DbReader, DbSession
from service_platform.identity.jwks import JWKS_PATH
from service_platform.ratelimit import limit

METADATA_PATH = "/.well-known/oauth-authorization-server"

router = APIRouter(prefix="/auth", tags=["oauth"])
well_known = APIRouter(tags=["oauth"])

OAUTH_RESPONSES: dict[int | str, dict[str, Any]] = {
    400: {"model": OAuthErrorAnswer, "description": "The request is not acceptable."},
    401: {"model": OAuthErrorAnswer, "description": "The client did not prove who it is."},
}


@router.post(
    "/token",
    summary="Get tokens",
    response_model=TokenAnswer,
    responses=OAUTH_RESPONSES,
    openapi_extra=form_of(TokenForm, "RFC 6749, sections 4.3.2, 4.4.2 and 6."),
)
@limit("600/minute", by="address", fallback="60/minute")
async def issue_token(
    request: Request, session: DbSession, reader: DbReader, grants: TheGrants, caller: TheCaller
) -> Response:
    """Log in, refresh, or get a token for a client.

    First-party front ends and curl need no client id. Every login that fails gets the same answer.
    """
    try:
        form = await read_form(request)
        grant_type = form.get("grant_type", "")
        if not grant_type:
            raise OAuthError("invalid_request", "grant_type is required.")
        if grant_type not in GRANT_TYPES:
            raise OAuthError("unsupported_grant_type", "This grant type is not supported.")
        client = await identify_client(request, reader, form)
        if grant_type == "client_credentials" and not client.is_confidential:
            raise OAuthError("invalid_client", "Authenticate with a client id and a secret.")
        if grant_type not in client.grant_types:
            raise OAuthError("unauthorized_client", "The client may not use this grant type.")
        if grant_type == "password":
            granted = await grants.log_in(session, client, form, caller)
        elif grant_type == "refresh_token":
            granted = await grants.refresh(session, client, form, caller)
        else:
            granted = grants.client_credentials(client, form)
    except OAuthError as error:
        return error.response()
    return json_response(granted.content())


@router.post(
    "/revoke",
    summary="Revoke a token",
    response_model=None,
    responses=OAUTH_RESPONSES,
    openapi_extra=form_of(PresentedTokenForm, "RFC 7009, section 2.1."),
)
async def revoke_token(
    request: Request, session: DbSession, reader: DbReader, grants: TheGrants
) -> Response:
    """End the session that a refresh or access token belongs to, in every service."""
    try:
        form = await read_form(request)
        client = await identify_client(request, reader, form)
        if not form.get("token"):
            raise OAuthError("invalid_request", "token is required.")
        await grants.revoke(session, client, form["token"])
    except OAuthError as error:
        return error.response()
    return json_response({})


@router.post(
    "/introspect",
    summary="Ask what a token is worth",
    response_model=Introspection,
    responses=OAUTH_RESPONSES,
    openapi_extra=form_of(PresentedTokenForm, "RFC 7662, section 2.1."),
)
async def introspect_token(request: Request, reader: DbReader, grants: TheGrants) -> Response:
    """For confidential clients. Services of this system verify tokens themselves."""
    try:
        form = await read_form(request)
        client = await identify_client(request, reader, form)
        if not form.get("token"):
            raise OAuthError("invalid_request", "token is required.")
        content = await grants.introspect(client, form["token"])
    except OAuthError as error:
        return error.response()
    return json_response(content)


@well_known.get(JWKS_PATH, summary="Keys that verify access tokens")
async def key_set(request: Request) -> Response:
    """The public keys (RFC 7517): those that sign, those that will, those that did."""
    keys: SigningKeys = request.app.state.signing_keys
    settings: AuthSettings = request.app.state.settings
    max_age = settings.jwks_max_age_seconds
    return json_response(keys.document(), headers={"cache-control": f"public, max-age={max_age}"})


@well_known.get(METADATA_PATH, summary="What this authorization server can do")
async def metadata(request: Request) -> Response:
    """Metadata of the authorization server (RFC 8414), from the configuration it runs with."""
    settings: AuthSettings = request.app.state.settings
    base = settings.jwt_issuer + settings.api_v1_prefix + "/auth"
    secret_methods = ["client_secret_basic", "client_secret_post"]
    return json_response(
        {
            "issuer": settings.jwt_issuer,
            "token_endpoint": f"{base}/token",
            "token_endpoint_auth_methods_supported": [*secret_methods, "none"],
            "revocation_endpoint": f"{base}/revoke",
            "revocation_endpoint_auth_methods_supported": [*secret_methods, "none"],
            "introspection_endpoint": f"{base}/introspect",
            "introspection_endpoint_auth_methods_supported": secret_methods,
            "jwks_uri": settings.jwt_issuer + JWKS_PATH,
            "grant_types_supported": list(GRANT_TYPES),
            "response_types_supported": [],
            "scopes_supported": settings.account_scopes,
        },
        headers={"cache-control": "public, max-age=3600"},
    )
