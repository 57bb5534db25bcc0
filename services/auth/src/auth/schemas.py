"""Bodies of requests and answers."""

from datetime import datetime
from typing import Annotated, Any
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


def _one_line(value: str) -> str:
    if not value.isprintable():
        raise ValueError("Must be one line without control characters")
    return value


def _address(value: str) -> str:
    try:
        return email_addresses.parse(value).shown
    except ValueError as error:
        raise ValueError(f"Value {error}") from None


def _valid_text(value: SecretStr) -> SecretStr:
    """JSON can write half of a surrogate pair, which no encoding has."""
    try:
        value.get_secret_value().encode()
    except UnicodeEncodeError:
        raise ValueError("Must be valid Unicode text") from None
    return value


Name = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=200),
    AfterValidator(_one_line),
]
Email = Annotated[
    str, AfterValidator(_address), Field(json_schema_extra={"format": "email"}, max_length=254)
]
Password = Annotated[SecretStr, AfterValidator(_valid_text), Field(max_length=1_024)]
Role = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]


class Input(BaseModel):
    """A body: members it does not know are refused, so that a misspelt one is noticed."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class Registration(Input):
    """A new account. Passwords have 12 to 128 characters and are not among the common ones."""

    email: Email = Field(examples=["ada@example.com"])
    password: Password = Field(examples=["a long phrase only you know"])
    full_name: Name | None = Field(None, examples=["Ada Lovelace"])


class PasswordChange(Input):
    """The present password and the next."""

    current_password: Password
    new_password: Password


class AccountChange(Input):
    """What an admin changes of an account; what is left out stays."""

    is_active: bool | None = None
    roles: Annotated[list[Role], Field(max_length=20)] | None = Field(None, examples=[["admin"]])

    @field_validator("roles", mode="after")
    @classmethod
    def _distinct(cls, value: list[str] | None) -> list[str] | None:
        return None if value is None else sorted(set(value))


class AccountView(BaseModel):
    """An account, as its owner and admins see it."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    email: str = Field(examples=["ada@example.com"])
    full_name: str | None = Field(examples=["Ada Lovelace"])
    roles: list[str]
    is_active: bool
    created_at: datetime


class SessionView(BaseModel):
    """A login that goes on."""

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
    """Logins that go on, the last used first."""

    items: list[SessionView]


class TokenAnswer(BaseModel):
    """RFC 6749, section 5.1."""

    access_token: str
    token_type: str = Field(examples=["Bearer"])
    expires_in: int = Field(description="Seconds.", examples=[600])
    refresh_token: str | None = Field(None, description="Not with client_credentials.")
    scope: str = Field(examples=["account items:read items:write"])


class OAuthErrorAnswer(BaseModel):
    """RFC 6749, section 5.2."""

    error: str = Field(examples=["invalid_grant"])
    error_description: str


class Introspection(BaseModel):
    """RFC 7662, section 2.2; nothing but `active` where the token is not."""

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


def form_of(model: type[BaseModel], description: str) -> dict[str, Any]:
    """`openapi_extra` of a route that reads an OAuth form itself."""
    return {
        "requestBody": {
            "required": True,
            "description": description,
            "content": {
                "application/x-www-form-urlencoded": {
                    "schema": model.model_json_schema(ref_template="#/components/schemas/{model}")
                }
            },
        }
    }


class TokenForm(BaseModel):
    """Parameters of the token endpoint."""

    grant_type: str = Field(examples=["password"])
    username: str | None = Field(None, description="The address; grant_type=password.")
    password: str | None = Field(None, json_schema_extra={"format": "password"})
    refresh_token: str | None = Field(None, description="grant_type=refresh_token.")
    scope: str | None = Field(None, description="Fewer scopes than there could be.")
    client_id: str | None = None
    client_secret: str | None = Field(None, json_schema_extra={"format": "password"})


class PresentedTokenForm(BaseModel):
    """Parameters of revocation and introspection."""

    token: str
    token_type_hint: str | None = Field(None, examples=["refresh_token", "access_token"])
    client_id: str | None = None
    client_secret: str | None = Field(None, json_schema_extra={"format": "password"})
