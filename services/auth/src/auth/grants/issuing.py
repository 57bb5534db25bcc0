"""Issues tokens: decides their scopes and makes the response of the token endpoint."""

from collections.abc import Sequence
from uuid import UUID

from auth import access_tokens
from auth.access_tokens import TokenSubject
from auth.clients import OAuthClient
from auth.oauth_errors import OAuthError
from auth.resources import AuthResources
from auth.schemas import TokenRead


def granted_scope(client: OAuthClient, requested: str | None, possible: Sequence[str]) -> str:
    """Decide which scopes a token gets: those asked for, or all there can be.

    Args:
        client: gets no scope that it was not registered with.
        requested: the parameter `scope` (RFC 6749, section 3.3).
        possible: what there is for an account, a session or the client.

    Raises:
        OAuthError: `invalid_scope` where more is asked for.
    """
    allowed = [name for name in possible if client.scopes is None or name in client.scopes]
    asked = list(dict.fromkeys((requested or "").split()))
    if any(name not in allowed for name in asked):
        raise OAuthError("invalid_scope", "A scope is not known, or not allowed here.")
    return " ".join(asked or allowed)


def account_tokens(
    resources: AuthResources,
    client: OAuthClient,
    account: TokenSubject,
    *,
    session_id: UUID,
    scope: str,
    counter: int,
    secret: bytes,
) -> TokenRead:
    """Issue the tokens of a session.

    Args:
        resources: keys and lifetimes.
        client: to whom.
        account: for whom.
        session_id: the session.
        scope: of the access token.
        counter: number of the refresh token.
        secret: of the session.
    """
    return TokenRead(
        access_token=access_tokens.account_token(
            resources.settings,
            resources.keys,
            account,
            client_id=client.client_id,
            scope=scope,
            session_id=session_id,
        ),
        token_type="Bearer",  # noqa: S106 - not a password
        expires_in=access_tokens.lifetime_seconds(resources.settings),
        scope=scope,
        refresh_token=resources.refresh_tokens.make(session_id, counter, secret),
    )


def client_tokens(
    resources: AuthResources, client: OAuthClient, client_row: UUID, scope: str
) -> TokenRead:
    """Issue the token of a client itself, without a refresh token (RFC 6749, section 4.4.3)."""
    return TokenRead(
        access_token=access_tokens.client_token(
            resources.settings,
            resources.keys,
            client_row,
            client_id=client.client_id,
            scope=scope,
        ),
        token_type="Bearer",  # noqa: S106 - not a password
        expires_in=access_tokens.lifetime_seconds(resources.settings),
        scope=scope,
    )
