"""Bodies of requests and responses."""

from datetime import datetime
from typing import Annotated, Any
from urllib.parse import urlsplit
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from service_platform.pagination import Page
from service_platform.text import FullName, OneLine, Prose


def _https_url(value: str) -> str:
    """Refuse what a browser must not load: `javascript:`, `data:` and addresses with a password."""
    try:
        parts = urlsplit(value)
    except ValueError:
        raise ValueError("Must be an https address") from None
    if parts.scheme != "https" or not parts.hostname or parts.username is not None:
        raise ValueError("Must be an https address")
    return value


Bio = Annotated[
    Prose,
    Field(
        max_length=1_000,
        description="May have several lines.",
        examples=["Writes programs for engines."],
    ),
]
AvatarUrl = Annotated[
    OneLine,
    Field(
        max_length=2_048,
        pattern=r"^[\x21-\x7e]*$",
        description="An https address.",
        examples=["https://images.example.com/ada.png"],
        json_schema_extra={"format": "uri"},
    ),
    AfterValidator(_https_url),
]
Locale = Annotated[
    OneLine,
    Field(
        max_length=35,
        pattern=r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$",
        description="Language tag (BCP 47).",
        examples=["en-GB"],
    ),
]


class ProfileUpdate(BaseModel):
    """Changes of a profile. Omitted members stay as they are; null removes a value."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    full_name: FullName | None = None
    bio: Bio | None = None
    avatar_url: AvatarUrl | None = None
    locale: Locale | None = None

    def changed_fields(self) -> dict[str, Any]:
        """Return the members that the client sent, by column."""
        return self.model_dump(exclude_unset=True)


class PublicProfileRead(BaseModel):
    """The part of a profile that every account may read."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID = Field(description="The id of the account.")
    full_name: str | None = Field(examples=["Ada Lovelace"])
    bio: str | None = Field(examples=["Writes programs for engines."])
    avatar_url: str | None = Field(examples=["https://images.example.com/ada.png"])
    created_at: datetime


class ProfileRead(PublicProfileRead):
    """A profile, as its owner and admins read it."""

    email: str = Field(examples=["ada@example.com"])
    locale: str | None = Field(examples=["en-GB"])
    updated_at: datetime


class ProfilePage(Page[ProfileRead]):
    """One page of profiles. Pass `next_cursor` as `cursor` to read the next one."""
