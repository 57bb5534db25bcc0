"""Settings of the items service."""

from pydantic import Field

from service_platform.events import EventSettings
from service_platform.webhooks import WebhookSettings


class ItemsSettings(WebhookSettings, EventSettings):
    """The platform's settings under this service's name, and how long exports are kept."""

    project_name: str = Field(
        "items", min_length=1, max_length=64, description="Name in logs, metrics and API docs."
    )
    export_days: float = Field(
        3.0, gt=0, le=365, description="Files of exports can be downloaded this long."
    )
