"""The principal: the caller of a request, as its verified access token says."""

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Principal:
    """The account or client a request is made for.

    Attributes:
        subject: the account; for a client's own token (client credentials) the client.
        client_id: the OAuth client the token was issued to.
        scopes: what the token may be used for.
        roles: what the account is, such as `admin`.
        session_id: the login the token belongs to; `None` for a client's own token.
        token_id: the token's `jti`.
        expires_at: seconds since the epoch.
        issued_at: seconds since the epoch.
        email: address of the account, where the token has it.
        name: full name of the account, where the token has it.
    """

    subject: UUID
    client_id: str
    scopes: frozenset[str]
    roles: frozenset[str]
    session_id: UUID | None
    token_id: str
    expires_at: int
    issued_at: int = 0
    email: str | None = None
    name: str | None = None

    def has_scope(self, scope: str) -> bool:
        """Return whether the token was granted `scope`."""
        return scope in self.scopes

    def has_role(self, role: str) -> bool:
        """Return whether the account has `role`."""
        return role in self.roles
