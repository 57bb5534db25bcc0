"""The client credentials grant: a token for the client itself (RFC 6749, section 4.4)."""

from auth import audit
from auth.clients import OAuthClient
from auth.grants.issuing import client_tokens, granted_scope
from auth.oauth_errors import unauthenticated_client
from auth.resources import AuthResources
from auth.schemas import TokenForm, TokenRead


def issue_client_token(resources: AuthResources, client: OAuthClient, form: TokenForm) -> TokenRead:
    """Issue a token for `grant_type=client_credentials`.

    Raises:
        OAuthError: `invalid_client` for a client that has no secret, `invalid_scope`.
    """
    if client.id is None or not client.is_confidential:
        raise unauthenticated_client()
    scope = granted_scope(client, form.scope, sorted(client.scopes or ()))
    audit.log("client_token_issued", client=client.client_id)
    return client_tokens(resources, client, client.id, scope)
