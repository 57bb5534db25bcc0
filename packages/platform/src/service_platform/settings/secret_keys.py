"""Settings of the secret key that signs cursors and encrypts what is secret in the database."""

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from service_platform.settings.service import ServiceSettings, is_deployed
from service_platform.settings.value_types import SecretList

DEVELOPMENT_SECRET_KEY = "development-only-secret-key-change-me"  # noqa: S105
MINIMUM_SECRET_KEY_LENGTH = 32


class SecretKeySettings(ServiceSettings):
    """The secret key and the earlier ones that are still accepted."""

    secret_key: SecretStr = Field(
        SecretStr(DEVELOPMENT_SECRET_KEY),
        description="Signs cursors, encrypts secrets in the database. 32 characters or more.",
    )
    secret_key_fallbacks: SecretList = Field(
        default_factory=list, description="Earlier SECRET_KEYs, still accepted, comma-separated."
    )

    @field_validator("secret_key", mode="after")
    @classmethod
    def _strong_secret_where_deployed(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        if is_deployed(info):
            secret = value.get_secret_value()
            if secret == DEVELOPMENT_SECRET_KEY:
                raise ValueError(
                    "is the development default; set one made by `openssl rand -base64 48`"
                )
            _require_length(secret)
        return value

    @field_validator("secret_key_fallbacks", mode="after")
    @classmethod
    def _strong_fallbacks_where_deployed(
        cls, value: list[SecretStr], info: ValidationInfo
    ) -> list[SecretStr]:
        if is_deployed(info):
            for secret in value:
                _require_length(secret.get_secret_value())
        return value

    @property
    def secret_keys(self) -> tuple[str, ...]:
        """Every accepted secret key, the one to use for new work first."""
        keys = (self.secret_key, *self.secret_key_fallbacks)
        return tuple(key.get_secret_value() for key in keys)


def _require_length(secret: str) -> None:
    if len(secret) < MINIMUM_SECRET_KEY_LENGTH:
        raise ValueError(f"must have {MINIMUM_SECRET_KEY_LENGTH} characters or more")
