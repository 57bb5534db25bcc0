"""Settings of a service that publishes or consumes events."""

from pydantic import Field, ValidationInfo, field_validator

from service_platform.settings import PlatformSettings


class EventSettings(PlatformSettings):
    """The platform's settings and those of events; field names in capitals are the variables."""

    events_batch_size: int = Field(
        100, ge=1, le=1_000, description="Events relayed or applied in one transaction."
    )
    events_attempts: int = Field(
        5, ge=1, le=100, description="Tries to apply an event before it is a dead letter."
    )
    events_retry_seconds: float = Field(
        1.0, gt=0, le=60, description="Wait before the second try; doubles with each further one."
    )
    events_claim_seconds: float = Field(
        30.0,
        ge=0.5,
        le=3_600,
        description="After this long without a sign, a replica's unfinished events go to another.",
    )
    events_poll_seconds: float = Field(
        1.0, gt=0, le=60, description="The outbox is looked at this often where no notice comes."
    )
    events_retention_hours: float = Field(
        24.0,
        gt=0,
        le=720,
        description="Relayed events are kept this long, for a Redis that loses its data.",
    )
    events_inbox_days: float = Field(
        30.0, gt=0, le=3_650, description="Applied events are remembered this long."
    )
    events_dead_letter_days: float = Field(
        30.0, gt=0, le=3_650, description="Dead letters can be replayed this long."
    )

    @field_validator("events_inbox_days", mode="after")
    @classmethod
    def _remembered_longer_than_kept(cls, value: float, info: ValidationInfo) -> float:
        hours = info.data.get("events_retention_hours")
        if hours is not None and value * 24 < hours * 2:
            raise ValueError("must be at least twice EVENTS_RETENTION_HOURS")
        return value


__all__ = ["EventSettings"]
