"""The refresh token grant: rotates a session's refresh token (RFC 6749, section 6)."""

from datetime import timedelta
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from auth import audit, repository
from auth.audit import AuditEvent
from auth.caller import Caller
from auth.clients import OAuthClient
from auth.grants.issuing import account_tokens, granted_scope
from auth.oauth_errors import OAuthError, invalid_refresh_token
from auth.refresh_tokens import RefreshTokens
from auth.resources import AuthResources
from auth.schemas import TokenForm, TokenRead

GRACE_SECONDS: Final = 10.0
"""How long the predecessor of a refresh token is taken for a lost answer or a second tab."""


async def refresh(
    session: AsyncSession,
    resources: AuthResources,
    client: OAuthClient,
    form: TokenForm,
    caller: Caller,
) -> TokenRead:
    """Issue the next tokens of a session for `grant_type=refresh_token`.

    The predecessor of the current token, within ten seconds, gets the current one: its answer
    was lost, or a second tab was faster. Anything older was copied: the session ends.

    Raises:
        OAuthError: `invalid_grant`; the end of a session with a copied token is committed.
    """
    if form.refresh_token is None:
        raise OAuthError("invalid_request", "refresh_token is required.")
    token = RefreshTokens.parse(form.refresh_token)
    known = None
    if token is not None:
        known = await repository.session_of_token(session, token.session_id)
    if (
        token is None
        or known is None
        or not resources.refresh_tokens.is_genuine(token, known.secret)
        or known.client_id != client.client_id
    ):
        audit.log("refresh_refused", client=client.client_id, reason="not_genuine")
        raise invalid_refresh_token()
    scope = granted_scope(client, form.scope, known.scope.split())
    state = await repository.advance(
        session,
        token.session_id,
        counter=token.counter,
        idle=timedelta(days=resources.settings.session_idle_days),
        address=caller.address,
    )
    if state is None:
        state = await repository.state_of_session(session, token.session_id)
        if state is None:
            audit.log("refresh_refused", session=token.session_id, reason="session_over")
            raise invalid_refresh_token()
        repeated = token.counter == state.counter - 1 and state.age <= GRACE_SECONDS
        if not repeated:
            await _end_copied(session, resources, token.session_id, state.id, client)
            raise invalid_refresh_token()
    audit.log("token_refreshed", account=state.id, session=token.session_id)
    return account_tokens(
        resources,
        client,
        state,
        session_id=token.session_id,
        scope=scope,
        counter=state.counter,
        secret=known.secret,
    )


async def _end_copied(
    session: AsyncSession,
    resources: AuthResources,
    session_id: UUID,
    account_id: UUID,
    client: OAuthClient,
) -> None:
    await repository.end_session(session, session_id, reason="refresh_token_reused")
    await resources.broadcast.record(session, "session", session_id)
    await audit.record(
        session,
        AuditEvent.REFRESH_TOKEN_REUSED,
        account=account_id,
        session_id=session_id,
        client=client.client_id,
    )
    await session.commit()
