"""Access tokens as auth makes them (RFC 9068)."""

import time
from typing import Any, Protocol
from uuid import UUID

from auth.settings import ACCOUNT_SCOPE, AuthSettings
from auth.signing_keys import SigningKeys
from service_platform.ids import new_id


class TokenSubject(Protocol):
    """What of an account goes into its tokens."""

    @property
    def id(self) -> UUID:
        """The account's id."""

    @property
    def email(self) -> str:
        """The account's address."""

    @property
    def full_name(self) -> str | None:
        """The name of the person."""

    @property
    def roles(self) -> list[str]:
        """What the account is, such as `admin`."""


def lifetime_seconds(settings: AuthSettings) -> int:
    """Return how long an access token lives."""
    return settings.access_token_expire_minutes * 60


def account_token(
    settings: AuthSettings,
    keys: SigningKeys,
    account: TokenSubject,
    *,
    client_id: str,
    scope: str,
    session_id: UUID,
) -> str:
    """Make a token for an account's session; it carries what services need to know the person.

    Roles go with the scope `account` only: an admin who gives a tool a token for reading
    profiles does not make the tool an admin.
    """
    acts_as_account = ACCOUNT_SCOPE in scope.split()
    claims = _claims(settings, account.id, client_id, scope) | {
        "roles": list(account.roles) if acts_as_account else [],
        "sid": str(session_id),
        "email": account.email,
    }
    if account.full_name:
        claims["name"] = account.full_name
    return keys.sign(claims)


def client_token(
    settings: AuthSettings, keys: SigningKeys, subject: UUID, *, client_id: str, scope: str
) -> str:
    """Make a token for a client itself (client credentials): no session, no roles."""
    return keys.sign(_claims(settings, subject, client_id, scope) | {"roles": []})


def _claims(settings: AuthSettings, subject: UUID, client_id: str, scope: str) -> dict[str, Any]:
    now = int(time.time())
    return {
        "iss": settings.jwt_issuer,
        "sub": str(subject),
        "aud": settings.token_audiences,
        "exp": now + lifetime_seconds(settings),
        "iat": now,
        "jti": str(new_id()),
        "client_id": client_id,
        "scope": scope,
    }
