"""Settings of the service itself: its name, where it runs, and where its settings come from."""

from enum import StrEnum
from pathlib import Path

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
)


class Environment(StrEnum):
    """Where the process runs; staging and production refuse development's conveniences."""

    DEVELOPMENT = "development"
    TEST = "test"
    STAGING = "staging"
    PRODUCTION = "production"

    @property
    def is_deployed(self) -> bool:
        """True where strangers can reach the process: staging and production."""
        return self in {Environment.STAGING, Environment.PRODUCTION}


class ServiceSettings(BaseSettings):
    """What the settings of every subject begin with.

    `environment` is the first field of all, because checks of later fields depend on it.
    """

    model_config = SettingsConfigDict(
        env_file=".env",
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
        validate_default=True,
    )

    environment: Environment = Field(
        Environment.DEVELOPMENT, description="development, test, staging or production."
    )
    secrets_dir: Path = Field(
        Path("/run/secrets"),
        description="Directory whose files are settings (file name = variable name).",
    )
    project_name: str = Field(
        "service", min_length=1, max_length=64, description="Name in logs, metrics and API docs."
    )
    version: str = Field("0.1.0", description="Release, shown by /version, /health and the logs.")
    debug: bool = Field(
        False, description="Log at debug level and print SQL. Refused where deployed."
    )
    api_v1_prefix: str = Field(
        "/api/v1", pattern=r"^(/[A-Za-z0-9._~-]+)+$", description="Path prefix of the API."
    )
    root_path: str = Field(
        "",
        pattern=r"^(/[A-Za-z0-9._~-]+)*$",
        description="Path prefix that a proxy takes off; X-Forwarded-Prefix of a trusted one wins.",
    )
    docs_enabled: bool = Field(True, description="Serve /docs, /redoc and the OpenAPI document.")
    problem_type_base_url: str = Field(
        "/problems",
        pattern=r"^(https?://\S+[^/]|(/[A-Za-z0-9._~-]+)+)$",
        description="Where the `type` of a problem points; every service serves its own /problems.",
    )

    @field_validator("debug", mode="after")
    @classmethod
    def _no_debug_where_deployed(cls, value: bool, info: ValidationInfo) -> bool:
        if value and is_deployed(info):
            raise ValueError("must be false in staging and production")
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let a mounted secret win over a variable: whoever can mount it owns the deployment."""
        del file_secret_settings
        told = {**dotenv_settings(), **env_settings(), **init_settings()}
        directory = Path(str(told.get("secrets_dir") or cls.model_fields["secrets_dir"].default))
        sources = [init_settings, env_settings, dotenv_settings]
        if directory.is_dir():
            sources.insert(1, SecretsSettingsSource(settings_cls, secrets_dir=directory))
        return tuple(sources)


def is_deployed(info: ValidationInfo) -> bool:
    """Return whether the settings being checked are of staging or production."""
    environment = info.data.get("environment")
    return isinstance(environment, Environment) and environment.is_deployed
