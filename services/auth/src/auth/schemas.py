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
        description="The address to log in with.",
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
ClientId = Annotated[
    str | None, Field(description="The OAuth client, unless it authenticates by HTTP Basic.")
]
ClientSecret = Annotated[
    str | None,
    Field(
        description="The secret of the client, if it has one.",
        json_schema_extra={"format": "password"},
    ),
]
Role = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]


class _Body(BaseModel):
    """A body: members it does not know are refused, so that a misspelt one is noticed."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class AccountCreate(_Body):
    """A new account."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "email": "ada@example.com",
                    "password": "a long phrase only you know",
                    "full_name": "Ada Lovelace",
                }
            ]
        }
    )

    email: Email
    password: NewPassword
    full_name: FullName | None = Field(None, description="The name that is shown.")


class PasswordUpdate(_Body):
    """The current password and the next."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "current_password": "a long phrase only you know",
                    "new_password": "another phrase only you know",
                }
            ]
        }
    )

    current_password: PresentPassword = Field(description="The password until now.")
    new_password: NewPassword


class AccountUpdate(_Body):
    """What an admin changes of an account; what is left out, or null, stays."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"roles": ["admin"]}]})

    is_active: bool | None = Field(None, description="False ends every session of the account.")
    roles: Annotated[list[Role], Field(max_length=20)] | None = Field(
        None, description="All roles that it shall have.", examples=[["admin"]]
    )

    @field_validator("roles", mode="after")
    @classmethod
    def _distinct(cls, value: list[str] | None) -> list[str] | None:
        return None if value is None else sorted(set(value))


class AccountRead(BaseModel):
    """An account, as its owner and admins see it."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID = Field(description="Identifies the account, in every service.")
    email: str = Field(description="The address to log in with.", examples=["ada@example.com"])
    full_name: str | None = Field(description="The name that is shown.", examples=["Ada Lovelace"])
    roles: list[str] = Field(description="What it may do beside its own.", examples=[["admin"]])
    is_active: bool = Field(description="Whether it can log in.")
    created_at: datetime = Field(description="When it was registered.")


class AccountPage(Page[AccountRead]):
    """One page of accounts. Pass `next_cursor` as `cursor` to read the next one."""

    items: list[AccountRead] = Field(description="The accounts of this page.")


class SessionRead(BaseModel):
    """A login that has not ended."""

    id: UUID = Field(description="Identifies the session.")
    client_id: str = Field(description="The OAuth client it was begun with.")
    scope: str = Field(
        description="The scopes of its tokens, separated by spaces.",
        examples=["account users:read users:write"],
    )
    created_at: datetime = Field(description="When it began, by a login.")
    last_used_at: datetime = Field(description="When its tokens were last refreshed.")
    expires_at: datetime = Field(description="When it ends unless it is used before.")
    user_agent: str | None = Field(description="The program that logged in, by its own word.")
    address: str | None = Field(description="The network address it was last used from.")
    current: bool = Field(description="Whether it is the one of this request.")


class SessionList(BaseModel):
    """Logins that have not ended, the last used first."""

    items: list[SessionRead] = Field(description="All of them; there are no pages.")


class AuditEventRead(BaseModel):
    """An event of the audit log."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID = Field(description="Identifies the event.")
    occurred_at: datetime = Field(description="When it happened.")
    event: str = Field(description="Name of the event.", examples=["login_failed"])
    account_id: UUID | None = Field(description="The account it happened to.")
    actor_id: UUID | None = Field(description="The admin who did it.")
    client_id: str | None = Field(description="The OAuth client.")
    session_id: UUID | None = Field(description="The login.")
    address: str | None = Field(description="Address of the caller; null for commands.")
    request_id: str | None = Field(description="Identifies the request in the logs.")
    details: dict[str, Any] = Field(
        description="What else is known; its members depend on the event.",
        examples=[{"reason": "wrong_password"}],
    )


class AuditEventPage(Page[AuditEventRead]):
    """One page of audit events. Pass `next_cursor` as `cursor` to read the next one."""

    items: list[AuditEventRead] = Field(description="The events of this page.")


class TokenForm(BaseModel):
    """Parameters of the token endpoint; one without a value counts as not sent."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "grant_type": "password",
                    "username": "ada@example.com",
                    "password": "a long phrase only you know",
                }
            ]
        }
    )

    grant_type: GrantType = Field(description="What is given for tokens.", examples=["password"])
    username: str | None = Field(None, description="The address; for grant_type=password.")
    password: str | None = Field(
        None, description="For grant_type=password.", json_schema_extra={"format": "password"}
    )
    refresh_token: str | None = Field(None, description="For grant_type=refresh_token.")
    scope: str | None = Field(
        None, description="Fewer scopes than the token could have, separated by spaces."
    )
    client_id: ClientId = None
    client_secret: ClientSecret = None


class PresentedTokenForm(BaseModel):
    """Parameters of the revocation and the introspection endpoint."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"token": "eyJhbGciOiJFUzI1NiJ9…", "token_type_hint": "access_token"}]
        }
    )

    token: str = Field(description="A refresh token or an access token.")
    token_type_hint: str | None = Field(
        None,
        description="Which of them it is; not needed.",
        examples=["refresh_token", "access_token"],
    )
    client_id: ClientId = None
    client_secret: ClientSecret = None


class TokenRead(BaseModel):
    """Response of the token endpoint (RFC 6749, section 5.1)."""

    access_token: str = Field(description="Send it as `Authorization: Bearer …`.")
    token_type: Literal["Bearer"] = Field(description="How the access token is sent.")
    expires_in: int = Field(description="Seconds.", examples=[600])
    refresh_token: str | None = Field(None, description="Not with client_credentials.")
    scope: str = Field(
        description="The scopes of the access token, separated by spaces.",
        examples=["account users:read users:write"],
    )


class RevocationRead(BaseModel):
    """Response of the revocation endpoint, without members (RFC 7009, section 2.2)."""


class IntrospectionRead(BaseModel):
    """Response of the introspection endpoint (RFC 7662, section 2.2).

    Nothing but `active` where the token is not.
    """

    active: bool = Field(description="Whether the token can be used.")
    scope: str | None = Field(None, description="Its scopes, separated by spaces.")
    client_id: str | None = Field(None, description="The OAuth client it was issued to.")
    username: str | None = Field(None, description="The address of the account.")
    token_type: str | None = Field(None, description="How it is sent.", examples=["Bearer"])
    exp: int | None = Field(None, description="When it ends, in seconds since 1970 (UTC).")
    iat: int | None = Field(None, description="When it was issued, in seconds since 1970 (UTC).")
    sub: UUID | None = Field(None, description="The account.")
    aud: list[str] | None = Field(None, description="The services it is meant for.")
    iss: str | None = Field(None, description="The authorization server that issued it.")
    jti: str | None = Field(None, description="Identifies the token.")
    sid: UUID | None = Field(None, description="The session it belongs to.")
    roles: list[str] | None = Field(None, description="The roles of the account.")


class KeySetRead(BaseModel):
    """A JSON Web Key Set (RFC 7517, section 5)."""

    keys: list[dict[str, Any]] = Field(description="Public keys (RFC 7517, section 4).")


class MetadataRead(BaseModel):
    """Metadata of the authorization server (RFC 8414, section 2)."""

    issuer: str = Field(description="The `iss` of its tokens.")
    token_endpoint: str = Field(description="Where tokens are issued.")
    token_endpoint_auth_methods_supported: list[str] = Field(
        description="How clients authenticate there."
    )
    revocation_endpoint: str = Field(description="Where tokens are revoked (RFC 7009).")
    revocation_endpoint_auth_methods_supported: list[str] = Field(
        description="How clients authenticate there."
    )
    introspection_endpoint: str = Field(description="Where tokens are introspected (RFC 7662).")
    introspection_endpoint_auth_methods_supported: list[str] = Field(
        description="How clients authenticate there."
    )
    jwks_uri: str = Field(description="Where the keys are that verify access tokens.")
    grant_types_supported: list[str] = Field(description="What `grant_type` can be.")
    response_types_supported: list[str] = Field(
        description="`none`: there is no authorization endpoint."
    )
    scopes_supported: list[str] = Field(description="Scopes that an account can have.")


class OAuthErrorRead(BaseModel):
    """Error response of the OAuth endpoints (RFC 6749, section 5.2)."""

    error: str = Field(description="The kind of error, for programs.", examples=["invalid_grant"])
    error_description: str = Field(description="What is wrong, in a sentence.")
