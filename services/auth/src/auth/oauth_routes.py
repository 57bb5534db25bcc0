"""The OAuth 2.0 endpoints: token, revocation, introspection, metadata and keys.

Their errors have the form of RFC 6749, section 5.2 (`oauth_errors.py`).
"""

from typing import Any, Final

from fastapi import APIRouter, Depends, Response

from auth.dependencies import CurrentCaller, Resources
from auth.grants.client_credentials import issue_client_token
from auth.grants.introspection import introspect
from auth.grants.password import log_in
from auth.grants.refresh import refresh
from auth.grants.revocation import revoke
from auth.oauth_errors import NO_STORE, OAuthError, unauthenticated_client
from auth.oauth_forms import CurrentClient, PresentedToken, TokenRequest, form_of
from auth.schemas import (
    GRANT_TYPES,
    IntrospectionRead,
    KeySetRead,
    MetadataRead,
    OAuthErrorRead,
    PresentedTokenForm,
    RevocationRead,
    TokenForm,
    TokenRead,
)
from service_platform.database.session import DbSession
from service_platform.errors import responses
from service_platform.identity import KeysUnavailable
from service_platform.identity.jwks_client import JWKS_PATH
from service_platform.ratelimit import limit

METADATA_PATH: Final = "/.well-known/oauth-authorization-server"
METADATA_MAX_AGE_SECONDS: Final = 3_600
SECRET_METHODS: Final = ["client_secret_basic", "client_secret_post"]

OAUTH_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    400: {"model": OAuthErrorRead, "description": "The request is not acceptable."},
    401: {"model": OAuthErrorRead, "description": "The client did not prove who it is."},
    **responses(KeysUnavailable),
}


async def _no_store(response: Response) -> None:
    """Keep the response out of every cache (RFC 6749, section 5.1)."""
    response.headers.update(NO_STORE)


router = APIRouter(prefix="/auth", tags=["oauth"], dependencies=[Depends(_no_store)])
well_known = APIRouter(tags=["oauth"])


@router.post(
    "/token",
    summary="Get tokens",
    responses=OAUTH_RESPONSES,
    response_model_exclude_none=True,
    openapi_extra=form_of(TokenForm, "RFC 6749, sections 4.3.2, 4.4.2 and 6."),
)
@limit("600/minute", by="address", fallback="60/minute")
async def issue_token(
    form: TokenRequest,
    client: CurrentClient,
    session: DbSession,
    resources: Resources,
    caller: CurrentCaller,
) -> TokenRead:
    """Log in, refresh, or get a token for a client.

    First-party front ends and curl need no client id. Every login that fails gets the same answer.
    """
    if form.grant_type == "client_credentials" and not client.is_confidential:
        raise unauthenticated_client()
    if form.grant_type not in client.grant_types:
        raise OAuthError("unauthorized_client", "The client may not use this grant type.")
    if form.grant_type == "password":
        return await log_in(session, resources, client, form, caller)
    if form.grant_type == "refresh_token":
        return await refresh(session, resources, client, form, caller)
    return issue_client_token(resources, client, form)


@router.post(
    "/revoke",
    summary="Revoke a token",
    responses=OAUTH_RESPONSES,
    openapi_extra=form_of(PresentedTokenForm, "RFC 7009, section 2.1."),
)
async def revoke_token(
    client: CurrentClient, token: PresentedToken, session: DbSession, resources: Resources
) -> RevocationRead:
    """End the session that a refresh or access token belongs to, in every service."""
    await revoke(session, resources, client, token)
    return RevocationRead()


@router.post(
    "/introspect",
    summary="Introspect a token",
    responses=OAUTH_RESPONSES,
    response_model_exclude_none=True,
    openapi_extra=form_of(PresentedTokenForm, "RFC 7662, section 2.1."),
)
async def introspect_token(
    client: CurrentClient, token: PresentedToken, session: DbSession, resources: Resources
) -> IntrospectionRead:
    """Tell a confidential client whether a token is active, and what it is for.

    Services of this system verify access tokens themselves.
    """
    return await introspect(session, resources, client, token)


@well_known.get(JWKS_PATH, summary="Keys that verify access tokens")
async def read_key_set(response: Response, resources: Resources) -> KeySetRead:
    """Return the public keys (RFC 7517): those that sign, those that will, those that did."""
    response.headers["cache-control"] = f"public, max-age={resources.settings.jwks_max_age_seconds}"
    return KeySetRead(keys=resources.keys.public_jwks())


@well_known.get(METADATA_PATH, summary="Metadata of the authorization server")
async def read_metadata(response: Response, resources: Resources) -> MetadataRead:
    """Return the endpoints and capabilities of this authorization server (RFC 8414)."""
    settings = resources.settings
    base = settings.jwt_issuer + settings.api_v1_prefix + "/auth"
    response.headers["cache-control"] = f"public, max-age={METADATA_MAX_AGE_SECONDS}"
    return MetadataRead(
        issuer=settings.jwt_issuer,
        token_endpoint=f"{base}/token",
        token_endpoint_auth_methods_supported=[*SECRET_METHODS, "none"],
        revocation_endpoint=f"{base}/revoke",
        revocation_endpoint_auth_methods_supported=[*SECRET_METHODS, "none"],
        introspection_endpoint=f"{base}/introspect",
        introspection_endpoint_auth_methods_supported=SECRET_METHODS,
        jwks_uri=settings.jwt_issuer + JWKS_PATH,
        grant_types_supported=list(GRANT_TYPES),
        # RFC 8414 requires a value, and an array has at least one (sections 2 and 3.2): this is the
        # registered one for an authorization endpoint that gives nothing away.
        response_types_supported=["none"],
        scopes_supported=settings.account_scopes,
    )
