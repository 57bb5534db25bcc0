"""Settings of a service that has jobs."""

from pydantic import Field

from service_platform.settings import PlatformSettings


class JobSettings(PlatformSettings):
    """The platform's settings and those of jobs; field names in capitals are the variables."""

    jobs_in_service: bool = Field(
        False,
        description="Run jobs in the service's processes too, where there is no worker.",
    )
    jobs_concurrency: int = Field(
        8, ge=1, le=200, description="Jobs one process runs at once; each may need a connection."
    )
    jobs_poll_seconds: float = Field(
        1.0, gt=0, le=60, description="The queue is looked at this often where no notice comes."
    )
    jobs_lease_seconds: float = Field(
        30.0,
        ge=0.5,
        le=3_600,
        description="After this long without a sign of its worker, a job is begun again.",
    )
    jobs_retention_hours: float = Field(
        24.0,
        gt=0,
        le=8_760,
        description="Jobs that succeeded are kept this long.",
    )
    jobs_dead_letter_days: float = Field(
        30.0, gt=0, le=3_650, description="Jobs that failed can be retried this long."
    )


__all__ = ["JobSettings"]
