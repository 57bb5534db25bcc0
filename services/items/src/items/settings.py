"""Settings of the items service."""

from pydantic import Field

from service_platform.events import EventSettings


class ItemsSettings(EventSettings):
    """The platform's settings under this service's name."""

    project_name: str = Field(
        "items", min_length=1, max_length=64, description="Name in logs, metrics and API docs."
    )
