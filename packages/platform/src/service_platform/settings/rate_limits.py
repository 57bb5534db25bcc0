"""Settings of the rate limits of a whole service; routes declare their own with `@limit`."""

from typing import Literal

from pydantic import Field

from service_platform.settings.service import ServiceSettings


class RateLimitSettings(ServiceSettings):
    """How often one caller may call, and where that is counted."""

    rate_limit_enabled: bool = Field(True, description="Decide rate limits at all.")
    rate_limit_backend: Literal["redis", "memory"] = Field(
        "redis", description="redis: one count for all replicas. memory: each process its own."
    )
    rate_limit_requests: int = Field(
        600, ge=1, le=10_000_000, description="Requests of one caller per window, whole service."
    )
    rate_limit_window_seconds: int = Field(60, ge=1, le=86_400, description="Length of the window.")
    rate_limit_replicas: int = Field(
        1, ge=1, le=10_000, description="Replicas that share the limit while Redis is away."
    )
    rate_limit_timeout_seconds: float = Field(
        0.1, ge=0.01, le=1.0, description="Budget of one decision before the local fallback."
    )
    rate_limit_shadow: bool = Field(False, description="Decide and count, never refuse.")
