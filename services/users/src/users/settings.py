"""What users can be told beyond the platform's settings."""

from pydantic import Field

from service_platform.events import EventSettings


class UsersSettings(EventSettings):
    """Settings of users; field names in capitals are the variable names."""

    project_name: str = Field(
        "users", min_length=1, max_length=64, description="Name in logs, metrics and API docs."
    )
