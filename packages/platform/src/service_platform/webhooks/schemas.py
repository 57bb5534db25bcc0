"""Bodies of the requests and responses of webhooks."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from service_platform.pagination import Page
from service_platform.text import OneLine
from service_platform.webhooks.addresses import MAX_URL_LENGTH

MAX_TYPES: Final = 50
MAX_DESCRIPTION: Final = 200
DESCRIPTION: Final = "What it is for."

DeliveryStatus = Literal["waiting", "succeeded", "failed"]
DisabledReason = Literal["owner", "failing", "gone"]


def _distinct(types: list[str]) -> list[str]:
    return list(dict.fromkeys(types))


Url = Annotated[
    str,
    Field(
        max_length=MAX_URL_LENGTH,
        description="Where the messages are sent to: https, of the public internet.",
        examples=["https://example.com/webhooks"],
    ),
]
Types = Annotated[
    list[Annotated[str, Field(max_length=100)]],
    Field(min_length=1, max_length=MAX_TYPES, description="The events that are sent."),
    AfterValidator(_distinct),
]
Description = Annotated[
    OneLine,
    Field(max_length=MAX_DESCRIPTION, description=DESCRIPTION, examples=["Our warehouse"]),
]
Secret = Annotated[
    str,
    Field(
        description="Verifies the signatures. It is shown here and never again.",
        examples=["whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD3dS6C8TX9Gc="],
    ),
]


class WebhookInput(BaseModel):
    """A request body: unknown members are refused, so that a misspelt one is noticed."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class WebhookCreate(WebhookInput):
    """A new subscription."""

    url: Url
    types: Types
    description: Description | None = Field(None, description=DESCRIPTION)


class WebhookUpdate(WebhookInput):
    """Changes of a subscription. Omitted members stay as they are."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"enabled": True}]})

    # By a factory, so that the schema has no default: a generated client would send it.
    url: Url = Field(default_factory=str)
    types: Types = Field(default_factory=list)
    description: Description | None = Field(None, description=DESCRIPTION)
    enabled: bool = Field(
        default_factory=bool,
        description="Whether anything is sent; true ends `failing` and `gone`.",
    )

    def changed_fields(self) -> dict[str, Any]:
        """Return the members that the client sent."""
        return self.model_dump(exclude_unset=True)


class WebhookRead(BaseModel):
    """A subscription."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID = Field(description="Identifies the subscription.")
    url: str = Field(description="Where the messages are sent to.")
    types: list[str] = Field(description="The events that are sent.")
    description: str | None = Field(description=DESCRIPTION)
    enabled: bool = Field(description="Whether anything is sent.")
    disabled_at: datetime | None = Field(description="Since when nothing is sent.")
    disabled_reason: DisabledReason | None = Field(
        description="`owner` asked for it; `failing`: every attempt of three days failed; `gone`: "
        "the receiver answered 410."
    )
    failing_since: datetime | None = Field(
        description="The first failure after the last success; null while all is well."
    )
    created_at: datetime = Field(description="When it was created.")
    updated_at: datetime = Field(description="When its owner last changed it.")


class WebhookCreated(WebhookRead):
    """A new subscription with its secret."""

    secret: Secret


class WebhookPage(Page[WebhookRead]):
    """One page of subscriptions. Pass `next_cursor` as `cursor` to read the next one."""

    items: list[WebhookRead] = Field(description="The subscriptions of this page.")


class WebhookSecret(BaseModel):
    """A new secret of a subscription."""

    secret: Secret
    previous_valid_until: datetime = Field(
        description="Until then messages are signed by the secret so far, too."
    )


class DeliveryRead(BaseModel):
    """A message to a subscriber."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID = Field(description="Identifies the message: its `webhook-id`.")
    type: str = Field(description="What happened.")
    status: DeliveryStatus = Field(description="`waiting` for the next attempt, or how it ended.")
    attempts: int = Field(description="How often it was sent.")
    response_status: int | None = Field(description="Status of the last response.")
    error: str | None = Field(
        description="Why the last attempt failed: `rejected` (a status other than 2xx), `timeout`, "
        "`connect_error`, `broken_off`, `unknown_host`, `address_refused`, or `disabled`."
    )
    created_at: datetime = Field(description="When it happened.")
    attempted_at: datetime | None = Field(description="When it was last sent.")
    next_attempt_at: datetime | None = Field(description="When it is sent next.")
    finished_at: datetime | None = Field(description="When it succeeded or was given up.")


class DeliveryWithPayload(DeliveryRead):
    """A message to a subscriber, with its body."""

    payload: dict[str, Any] = Field(description="Body of the request.")


class DeliveryPage(Page[DeliveryRead]):
    """One page of messages. Pass `next_cursor` as `cursor` to read the next one."""

    items: list[DeliveryRead] = Field(description="The messages of this page.")


class DeliveryCreated(BaseModel):
    """A message that will be sent."""

    id: UUID = Field(description="Identifies the message: its `webhook-id`.")


class Replay(WebhookInput):
    """Which messages to send again."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"since": "2026-11-26T09:00:00Z"}]})

    since: AwareDatetime = Field(description="Those of what happened since.")
    succeeded: bool = Field(
        default_factory=bool, description="Whether also those that were received."
    )


class Replayed(BaseModel):
    """How many messages are sent again."""

    deliveries: int = Field(description="How many.", examples=[17])


__all__ = [
    "DeliveryCreated",
    "DeliveryPage",
    "DeliveryRead",
    "DeliveryStatus",
    "DeliveryWithPayload",
    "Replay",
    "Replayed",
    "WebhookCreate",
    "WebhookCreated",
    "WebhookPage",
    "WebhookRead",
    "WebhookSecret",
    "WebhookUpdate",
]
