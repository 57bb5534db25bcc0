"""Settings of Redis or Valkey."""

from pydantic import Field, SecretStr, field_validator

from service_platform.connection_urls import RedisUrl
from service_platform.settings.service import ServiceSettings


class RedisSettings(ServiceSettings):
    """The Redis that services share for limits, events and revocations."""

    redis_url: SecretStr = Field(
        SecretStr("redis://localhost:6379/0"), description="Redis or Valkey; rediss:// for TLS."
    )
    redis_max_connections: int = Field(32, ge=1, le=1000, description="Bound of one process.")
    redis_timeout_seconds: float = Field(
        1.0, gt=0, le=30, description="Connect and answer time of a Redis command."
    )

    @field_validator("redis_url", mode="after")
    @classmethod
    def _redis_url(cls, value: SecretStr) -> SecretStr:
        # With a password escaped as redis-py needs it.
        return SecretStr(RedisUrl.parse(value.get_secret_value()).text())
