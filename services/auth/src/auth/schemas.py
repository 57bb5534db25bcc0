"""Bodies of requests and responses of the account, session and audit endpoints, and OAuth forms."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal, get_args
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    field_validator,
)

from auth import email_addresses
from auth.password_policy import LONGEST, SHORTEST
from service_platform.pagination import Page
from service_platform.text import FullName

GrantType = Literal["password", "refresh_token", "client_credentials"]
GRANT_TYPES: Final[tuple[str, ...]] = get_args(GrantType)


def _address(value: str) -> str:
    try:
        return email_addresses.parse(value).shown
    except ValueError as error:
        raise ValueError(f"Value {error}") from None


def _valid_text(value: SecretStr) -> SecretStr:
    """Refuse half of a surrogate pair, which JSON can write and no encoding has."""
    try:
        value.get_secret_value().encode()
    except UnicodeEncodeError:
        raise ValueError("Must be valid Unicode text") from None
    return value


Email = Annotated[
    str,
    AfterValidator(_address),
    Field(
        json_schema_extra={"format": "email"},
        max_length=email_addresses.MAX_LENGTH,
        examples=["ada@example.com"],
    ),
]
PresentPassword = Annotated[SecretStr, AfterValidator(_valid_text), Field(max_length=1_024)]
NewPassword = Annotated[
    SecretStr,
    AfterValidator(_valid_text),
    Field(
        # Enforced by `password_policy`, whose errors say more.
        json_schema_extra={"minLength": SHORTEST, "maxLength": LONGEST},
        description=(
            f"{SHORTEST} to {LONGEST} characters, counted after Unicode normalization (NFKC); "
            "neither a common password nor the address."
        ),
        examples=["a long phrase only you know"],
    ),
]
Role = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]


class _Body(BaseModel):
    """A body: members it does not know are refused, so that a misspelt one is noticed."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class AccountCreate(_Body):
    """A new account."""

    email: Email
    password: NewPassword
    full_name: FullName | None = None


class PasswordUpdate(_Body):
    """The current password and the next."""

    current_password: PresentPassword
    new_password: NewPassword


class AccountUpdate(_Body):
    """What an admin changes of an account; what is left out, or null, stays."""

    is_active: bool | None = None
    roles: Annotated[list[Role], Field(max_length=20)] | None = Field(None, examples=[["admin"]])

    @field_validator("roles", mode="after")
    @classmethod
    def _distinct(cls, value: list[str] | None) -> list[str] | None:
        return None if value is None else sorted(set(value))


class AccountRead(BaseModel):
    """An account, as its owner and admins see it."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    email: str = Field(examples=["ada@example.com"])
    full_name: str | None = Field(examples=["Ada Lovelace"])
    roles: list[str]
    is_active: bool
    created_at: datetime


class AccountPage(Page[AccountRead]):
    """One page of accounts. Pass `next_cursor` as `cursor` to read the next one."""


class SessionRead(BaseModel):
    """A login that has not ended."""

    id: UUID
    client_id: str
    scope: str
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime = Field(description="When it ends unless it is used before.")
    user_agent: str | None
    address: str | None
    current: bool = Field(description="Whether it is the one of this request.")


class SessionList(BaseModel):
    """Logins that have not ended, the last used first."""

    items: list[SessionRead]


class AuditEventRead(BaseModel):
    """An event of the audit log."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    occurred_at: datetime
    event: str = Field(examples=["login_failed"])
    account_id: UUID | None = Field(description="The account it happened to.")
    actor_id: UUID | None = Field(description="The admin who did it.")
    client_id: str | None = Field(description="The OAuth client.")
    session_id: UUID | None = Field(description="The login.")
    address: str | None = Field(description="Address of the caller; null for commands.")
    request_id: str | None
    details: dict[str, Any] = Field(examples=[{"reason": "wrong_password"}])


class AuditEventPage(Page[AuditEventRead]):
    """One page of audit events. Pass `next_cursor` as `cursor` to read the next one."""


class TokenForm(BaseModel):
    """Parameters of the token endpoint; one without a value counts as not sent."""

    grant_type: GrantType = Field(examples=["password"])
    username: str | None = Field(None, description="The address; for grant_type=password.")
    password: str | None = Field(None, json_schema_extra={"format": "password"})
    refresh_token: str | None = Field(None, description="For grant_type=refresh_token.")
    scope: str | None = Field(
        None, description="Fewer scopes than the token could have, separated by spaces."
    )
    client_id: str | None = None
    client_secret: str | None = Field(None, json_schema_extra={"format": "password"})


class PresentedTokenForm(BaseModel):
    """Parameters of the revocation and the introspection endpoint."""

    token: str
    token_type_hint: str | None = Field(None, examples=["refresh_token", "access_token"])
    client_id: str | None = None
    client_secret: str | None = Field(None, json_schema_extra={"format": "password"})


class TokenRead(BaseModel):
    """Response of the token endpoint (RFC 6749, section 5.1)."""

    access_token: str
    token_type: Literal["Bearer"]
    expires_in: int = Field(description="Seconds.", examples=[600])
    refresh_token: str | None = Field(None, description="Not with client_credentials.")
    scope: str = Field(examples=["account items:read items:write"])


class RevocationRead(BaseModel):
    """Response of the revocation endpoint, without members (RFC 7009, section 2.2)."""


class IntrospectionRead(BaseModel):
    """Response of the introspection endpoint (RFC 7662, section 2.2).

    Nothing but `active` where the token is not.
    """

    active: bool
    scope: str | None = None
    client_id: str | None = None
    username: str | None = None
    token_type: str | None = None
    exp: int | None = None
    iat: int | None = None
    sub: UUID | None = None
    aud: list[str] | None = None
    iss: str | None = None
    jti: str | None = None
    sid: UUID | None = None
    roles: list[str] | None = None


class KeySetRead(BaseModel):
    """A JSON Web Key Set (RFC 7517, section 5)."""

    keys: list[dict[str, Any]]


class MetadataRead(BaseModel):
    """Metadata of the authorization server (RFC 8414, section 2)."""

    issuer: str
    token_endpoint: str
    token_endpoint_auth_methods_supported: list[str]
    revocation_endpoint: str
    revocation_endpoint_auth_methods_supported: list[str]
    introspection_endpoint: str
    introspection_endpoint_auth_methods_supported: list[str]
    jwks_uri: str
    grant_types_supported: list[str]
    response_types_supported: list[str] = Field(
        description="`none`: there is no authorization endpoint."
    )
    scopes_supported: list[str]


class OAuthErrorRead(BaseModel):
    """Error response of the OAuth endpoints (RFC 6749, section 5.2)."""

    error: str = Field(examples=["invalid_grant"])
    error_description: str
