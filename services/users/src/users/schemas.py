"""Bodies of requests and answers."""

from datetime import datetime
from typing import Annotated, Any
from urllib.parse import urlsplit
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from service_platform.text import OneLine, Prose


def _web_address(value: str) -> str:
    """An address a browser may load from; no `javascript:` and no `data:`."""
    try:
        parts = urlsplit(value)
    except ValueError:
        raise ValueError("Must be an https address") from None
    if parts.scheme != "https" or not parts.hostname or parts.username is not None:
        raise ValueError("Must be an https address")
    return value


FullName = Annotated[OneLine, Field(min_length=1, max_length=200, examples=["Ada Lovelace"])]
Bio = Annotated[Prose, Field(max_length=1_000, examples=["Writes programs for engines."])]
AvatarUrl = Annotated[
    OneLine,
    Field(
        max_length=2_048, pattern=r"^[\x21-\x7e]*$", examples=["https://images.example.com/ada.png"]
    ),
    AfterValidator(_web_address),
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


class ProfileChange(BaseModel):
    """What changes; what is left out stays, null takes it away."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    full_name: FullName | None = None
    bio: Bio | None = None
    avatar_url: AvatarUrl | None = None
    locale: Locale | None = None

    def given(self) -> dict[str, Any]:
        """What the client wrote, by column."""
        return self.model_dump(exclude_unset=True)


class PublicProfile(BaseModel):
    """What every account may know of another one."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    full_name: str | None = Field(examples=["Ada Lovelace"])
    bio: str | None
    avatar_url: str | None
    created_at: datetime


class ProfileView(PublicProfile):
    """A profile, as its owner and admins see it."""

    email: str = Field(examples=["ada@example.com"])
    locale: str | None
    updated_at: datetime
