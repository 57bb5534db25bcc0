"""Token introspection (RFC 7662): tells a confidential client whether a token is active."""

from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from auth import repository
from auth.clients import OAuthClient
from auth.grants.presented import principal_of
from auth.oauth_errors import unauthenticated_client
from auth.refresh_tokens import PresentedToken, RefreshTokens
from auth.resources import AuthResources
from auth.schemas import IntrospectionRead

INACTIVE: Final = IntrospectionRead(active=False)


async def introspect(
    session: AsyncSession, resources: AuthResources, client: OAuthClient, token: str
) -> IntrospectionRead:
    """Introspect a token: whether it is active at this moment, and what it is for.

    Raises:
        OAuthError: `invalid_client` for a client that has no secret.
    """
    if not client.is_confidential:
        raise unauthenticated_client()
    presented = RefreshTokens.parse(token)
    if presented is not None:
        return await _introspect_refresh_token(session, resources, presented)
    return await _introspect_access_token(resources, token)


async def _introspect_access_token(resources: AuthResources, token: str) -> IntrospectionRead:
    principal = await principal_of(resources, token)
    if principal is None:
        return INACTIVE
    username = None
    if principal.session_id is not None:
        account = await repository.live_account(
            resources.database.reader, principal.subject, principal.session_id
        )
        if account is None:
            return INACTIVE
        username = account.email
    return IntrospectionRead(
        active=True,
        scope=" ".join(sorted(principal.scopes)),
        client_id=principal.client_id,
        username=username,
        token_type="Bearer",  # noqa: S106 - not a password
        exp=principal.expires_at,
        iat=principal.issued_at,
        sub=principal.subject,
        aud=resources.settings.token_audiences,
        iss=resources.settings.jwt_issuer,
        jti=principal.token_id,
        sid=principal.session_id,
        roles=sorted(principal.roles),
    )


async def _introspect_refresh_token(
    session: AsyncSession, resources: AuthResources, presented: PresentedToken
) -> IntrospectionRead:
    known = await repository.session_of_token(session, presented.session_id)
    state = await repository.state_of_session(session, presented.session_id)
    if (
        known is None
        or state is None
        or not resources.refresh_tokens.is_genuine(presented, known.secret)
        or presented.counter != state.counter
    ):
        return INACTIVE
    return IntrospectionRead(
        active=True,
        scope=known.scope,
        client_id=known.client_id,
        username=state.email,
        sub=state.id,
        iss=resources.settings.jwt_issuer,
        sid=presented.session_id,
    )
