"""Access tokens as auth makes them (RFC 9068)."""

import time
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from auth.settings import ACCOUNT_SCOPE, AuthSettings
from auth.signing_keys import SigningKeys
from service_platform.ids import new_id


class AccessTokens:
    """Makes access tokens of accounts and of clients.

    Args:
        settings: issuer, audiences and lifetime.
        keys: signs.
    """

    def __init__(self, settings: AuthSettings, keys: SigningKeys) -> None:
        self._settings = settings
        self._keys = keys
        self.lifetime = settings.access_token_expire_minutes * 60

    def for_account(
        self,
        account_id: UUID,
        *,
        email: str,
        full_name: str | None,
        roles: Iterable[str],
        client_id: str,
        scope: str,
        session_id: UUID,
    ) -> str:
        """A token for an account's session; it carries what services need to know the person.

        Roles go with the scope `account` only: an admin who gives a tool a token for reading items
        does not make the tool an admin.
        """
        acts_as_account = ACCOUNT_SCOPE in scope.split()
        claims = self._claims(account_id, client_id, scope) | {
            "roles": list(roles) if acts_as_account else [],
            "sid": str(session_id),
            "email": email,
        }
        if full_name:
            claims["name"] = full_name
        return self._keys.sign(claims)

    def for_client(self, subject: UUID, *, client_id: str, scope: str) -> str:
        """A token for a client itself (client credentials): no session, no roles."""
        return self._keys.sign(self._claims(subject, client_id, scope) | {"roles": []})

    def _claims(self, subject: UUID, client_id: str, scope: str) -> dict[str, Any]:
        now = int(time.time())
        return {
            "iss": self._settings.jwt_issuer,
            "sub": str(subject),
            "aud": self._settings.token_audiences,
            "exp": now + self.lifetime,
            "iat": now,
            "jti": str(new_id()),
            "client_id": client_id,
            "scope": scope,
        }
