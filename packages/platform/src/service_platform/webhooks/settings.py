"""Settings of a service that offers webhooks."""

from pydantic import Field, ValidationInfo, field_validator

from service_platform.jobs import JobSettings
from service_platform.settings.service import is_deployed


class WebhookSettings(JobSettings):
    """The settings of jobs and those of webhooks; field names in capitals are the variables."""

    webhooks_allow_private: bool = Field(
        False,
        description="Let webhooks be sent over http and into private networks. Refused where "
        "deployed.",
    )
    webhooks_timeout_seconds: float = Field(
        10.0, ge=0.1, le=30, description="Limit of one request to a subscriber."
    )
    webhooks_per_account: int = Field(
        20, ge=1, le=1_000, description="Subscriptions that an account may have."
    )
    webhooks_retention_days: float = Field(
        14.0, gt=0, le=365, description="Deliveries that ended can be seen and replayed this long."
    )

    @field_validator("webhooks_allow_private", mode="after")
    @classmethod
    def _no_private_networks_where_deployed(cls, value: bool, info: ValidationInfo) -> bool:
        if value and is_deployed(info):
            raise ValueError("must be false in staging and production")
        return value


__all__ = ["WebhookSettings"]
