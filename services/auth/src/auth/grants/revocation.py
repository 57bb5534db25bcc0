"""Token revocation (RFC 7009): ends the session that a token belongs to."""

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from auth import audit, repository
from auth.audit import AuditEvent
from auth.clients import OAuthClient
from auth.grants.presented import principal_of
from auth.oauth_errors import OAuthError
from auth.refresh_tokens import RefreshTokens
from auth.resources import AuthResources


async def revoke(
    session: AsyncSession, resources: AuthResources, client: OAuthClient, token: str
) -> None:
    """Revoke a refresh or access token; what is no token of ours is no error (section 2.2).

    Raises:
        OAuthError: `invalid_grant` where the token was given to another client.
    """
    presented = RefreshTokens.parse(token)
    if presented is not None:
        known = await repository.session_of_token(session, presented.session_id)
        if known is None or not resources.refresh_tokens.is_genuine(presented, known.secret):
            return
        _require_owner(client, known.client_id)
        await _end(session, resources, presented.session_id, known.account_id, client)
        return
    principal = await principal_of(resources, token)
    if principal is None:
        return
    _require_owner(client, principal.client_id)
    if principal.session_id is not None:
        await _end(session, resources, principal.session_id, principal.subject, client)
    else:
        await resources.broadcast.record(session, "token", UUID(principal.token_id))
        await audit.record(session, AuditEvent.CLIENT_TOKEN_REVOKED, client=client.client_id)


async def _end(
    session: AsyncSession,
    resources: AuthResources,
    session_id: UUID,
    account_id: UUID,
    client: OAuthClient,
) -> None:
    if await repository.end_session(session, session_id, reason="revoked"):
        await audit.record(
            session,
            AuditEvent.SESSION_ENDED,
            account=account_id,
            session_id=session_id,
            client=client.client_id,
            reason="revoked",
        )
    await resources.broadcast.record(session, "session", session_id)


def _require_owner(client: OAuthClient, owner: str) -> None:
    if client.client_id != owner:
        raise OAuthError("invalid_grant", "The token was given to another client.")
