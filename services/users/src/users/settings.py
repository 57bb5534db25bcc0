"""Settings of the users service."""

from pydantic import Field

from service_platform.events import EventSettings


class UsersSettings(EventSettings):
    """The platform's settings under this service's name."""

    project_name: str = Field(
        "users", min_length=1, max_length=64, description="Name in logs, metrics and API docs."
    )
