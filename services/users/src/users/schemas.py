"""Bodies of requests and responses."""

from datetime import datetime
from typing import Annotated, Any, Final
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
        examples=["Writes programs for engines."],
    ),
]
AvatarUrl = Annotated[
    OneLine,
    Field(
        max_length=2_048,
        pattern=r"^[\x21-\x7e]*$",
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
        examples=["en-GB"],
    ),
]


FULL_NAME: Final = "The name that is shown."
BIO: Final = "About the person; may have several lines."
AVATAR_URL: Final = "The https address of a picture."
LOCALE: Final = "Language tag (BCP 47)."


class ProfileUpdate(BaseModel):
    """Changes of a profile. Omitted members stay as they are; null removes a value."""

    model_config = ConfigDict(
        extra="forbid",
        hide_input_in_errors=True,
        json_schema_extra={
            "examples": [{"bio": "Writes programs for engines.", "locale": "en-GB"}]
        },
    )

    full_name: FullName | None = Field(None, description=FULL_NAME)
    bio: Bio | None = Field(None, description=BIO)
    avatar_url: AvatarUrl | None = Field(None, description=AVATAR_URL)
    locale: Locale | None = Field(None, description=LOCALE)

    def changed_fields(self) -> dict[str, Any]:
        """Return the members that the client sent, by column."""
        return self.model_dump(exclude_unset=True)


class PublicProfileRead(BaseModel):
    """The part of a profile that every account may read."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID = Field(description="The id of the account.")
    full_name: str | None = Field(description=FULL_NAME, examples=["Ada Lovelace"])
    bio: str | None = Field(description=BIO, examples=["Writes programs for engines."])
    avatar_url: str | None = Field(
        description=AVATAR_URL, examples=["https://images.example.com/ada.png"]
    )
    created_at: datetime = Field(description="When the account was registered.")


class ProfileRead(PublicProfileRead):
    """A profile, as its owner and admins read it."""

    email: str = Field(
        description="The address that the account logs in with.", examples=["ada@example.com"]
    )
    locale: str | None = Field(description=LOCALE, examples=["en-GB"])
    updated_at: datetime = Field(description="When the profile was last changed.")


class ProfilePage(Page[ProfileRead]):
    """One page of profiles. Pass `next_cursor` as `cursor` to read the next one."""

    items: list[ProfileRead] = Field(description="The profiles of this page.")
